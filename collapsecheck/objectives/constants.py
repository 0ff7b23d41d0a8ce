"""Values of a loss that give a collapse away: what it costs when all embeddings are one point."""

from __future__ import annotations

import math
from collections.abc import Iterator

# How near a value must come, relatively: losses are printed with four digits, and averaged over batches.
NEAR = 1e-3
MARGINS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
BATCHES = tuple(2**power for power in range(5, 17))
MOST_CLASSES = 100_000


def meanings(value: float, *, classes: int | None = None, margin: float | None = None) -> Iterator[str]:
    """What a last value of an unknown loss may mean, the most specific first; nothing for a value like any other.

    Each is a value at which well-known losses stay once all embeddings are equal, which chance comes to as well.

    Parameters
    ----------
    classes
        Number of classes in the data.
    margin
        Of the loss, where it is told; else the usual ones.
    """
    if _is(value, math.log1p(math.exp(1)) / 2 + math.log1p(math.exp(-1)) / 2):
        yield "what binary cross-entropy of sigmoid(cosine) costs when every cosine is 1 (half of the pairs alike)"
    if _is(value, math.log1p(math.exp(-1))):
        yield "the least that binary cross-entropy of sigmoid(cosine) can cost: no cosine takes a sigmoid above 0.73"
    if _is(value, math.log(2)):
        yield "ln 2: a triplet loss with a soft margin when all distances are zero, or two classes at chance"
    if classes is not None and 2 < classes <= MOST_CLASSES and _is(value, math.log(classes)):
        yield f"ln {classes}, cross-entropy over {classes} classes at chance: all items get the same scores"
    if value == 0:
        yield "exactly 0: a batch of one item, a margin that is always met, or a constant for an answer"
    if _is(value, -1):
        yield "-1, the least of a negative cosine between views, which one point for all reaches at once"
    for one in (margin,) if margin else MARGINS:
        if _is(value, one):
            yield f"the margin {one:g}: a triplet loss when all items are in one point"
    for size in BATCHES:
        if size > (classes or 0) and _is(value, math.log(size)):
            yield f"ln {size}, a contrastive loss over {size} candidates at chance"
        if _is(value, math.log(2 * size - 1)):
            yield f"ln {2 * size - 1}, NT-Xent over a batch of {size} at chance"


def _is(value: float, other: float) -> bool:
    return abs(value - other) <= NEAR * abs(other)
