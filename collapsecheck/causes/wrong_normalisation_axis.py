"""Cause `wrong-normalisation-axis`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.checks.repeatable_embeddings import RepeatableEmbeddings
from collapsecheck.observe.layers import Layer
from collapsecheck.scene import Scene

# How far from 1 the length (or sum) of a column may be, and that of rows must be: the first is rounding.
EXACT = 1e-3
FEWEST = 4  # rows in a batch, below which a column says little


class WrongNormalisationAxis(Cause):
    """The embeddings are normalised over the items of a batch, not each by itself.

    `F.normalize(x, dim=0)` or `softmax(dim=0)` makes the columns of a batch have length (or sum) 1, not the rows: the
    numbers of an item then depend on what else is in its batch, and shrink with the size of it. Columns and rows of the
    embeddings are measured batch by batch. Where embeddings are lost, the experiment reads in front of that step.
    """

    explains = frozenset({Kind.NORM, Kind.CONE, Kind.COMPLETE, Kind.CLUSTER, Kind.DIMENSIONAL})
    symptomless = True
    unrepeatable = True

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Measure columns and rows of each batch."""
        repeats = scene.seen.repeatability
        if repeats is None or not repeats.elsewhere > RepeatableEmbeddings.thresholds["warning"]:
            return
        found = {_what(rows) for rows in _batches(scene)}
        if len(found) != 1 or not (what := found.pop()):
            return
        last = scene.path[-1] if scene.path else None
        yield Suspicion(
            layer=last.site.layer if last is not None else "",
            depth=last.depth - 0.5 if last is not None else 0.0,
            evidence=f"in every batch each dimension, and not each embedding, has {what} 1",
            known=True,
            size=0.1,
        )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Read in front of it."""
        before = _in_front(scene)
        if before is not None:
            yield Intervention(
                probe=scene.confirm.read_at(before.site.layer),
                change=f"the embedding read at {before.site.layer}, in front of that",
                uncontrolled="reading elsewhere changes nothing in the model",
            )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Normalise each row."""
        return (
            Remedy(
                id="dim-1",
                title="Normalise each embedding: dim=1 (or -1), not dim=0",
                snippet="embeddings = torch.nn.functional.normalize(embeddings, dim=1)",
                effect="a model trained with the wrong axis should be trained again",
            ),
        )


def _batches(scene: Scene) -> Iterator[NDArray[np.float64]]:
    """The embeddings of the batches as they went through the model."""
    for batch in scene.find.batches:
        if len(batch.indices) >= FEWEST:
            yield scene.find.only(batch).embeddings


def _what(rows: NDArray[np.float64]) -> str:
    """Which of the two makes all columns 1 but not all rows; "" for neither."""
    if not np.isfinite(rows).all():
        return ""
    measures = {"the length": [np.sqrt(np.square(rows).sum(axis)) for axis in (0, 1)]}
    if (rows >= 0).all():
        measures["the sum"] = [rows.sum(axis) for axis in (0, 1)]
    for what, (columns, each) in measures.items():
        alive = columns > 0
        if alive.any() and np.abs(columns[alive] - 1).max() < EXACT and np.abs(each - 1).max() > EXACT:
            return what
    return ""


def _in_front(scene: Scene) -> Layer | None:
    """The last module on the path before the end, read as a whole."""
    earlier = [layer for layer in scene.path[:-1] if not layer.site.function and layer.site.layer]
    return earlier[-1] if earlier else None
