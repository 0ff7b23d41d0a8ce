"""A seeded, class-stratified choice of items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collapsecheck.errors import UsageError


def choose_items(count: int, labels: NDArray[np.int64] | None, max_samples: int | None, seed: int) -> NDArray[np.int64]:
    """Return the numbers of at most `max_samples` of `count` items, ascending.

    Each class keeps its share, and at least one item if there is room for all classes. A larger
    `max_samples` with the same seed takes the same items and more.
    """
    if max_samples is not None and max_samples < 1:
        raise UsageError("--max-samples must be at least 1")
    if max_samples is None or max_samples >= count:
        return np.arange(count, dtype=np.int64)
    order = np.random.default_rng(seed).permutation(count)
    if labels is not None:
        # The r-th of m items of a class stands at r / m: below any level lies that part of every class.
        shuffled = labels[order]
        by_class = np.argsort(shuffled, kind="stable")
        sizes = np.bincount(shuffled)
        rank = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        level = np.empty(count)
        level[by_class] = rank / np.repeat(sizes, sizes)
        order = order[np.argsort(level, kind="stable")]
    return np.sort(order[:max_samples]).astype(np.int64)


def put_first(chosen: NDArray[np.int64], labels: NDArray[np.int64] | None, first: int, seed: int) -> NDArray[np.int64]:
    """Put a random sample of so many items, in which each class keeps its share, shuffled before the others."""
    if first < 1:
        return chosen
    sample = choose_items(len(chosen), None if labels is None else labels[chosen], min(first, len(chosen)), seed)
    rest = np.setdiff1d(np.arange(len(chosen)), sample)
    return np.concatenate([chosen[np.random.default_rng(seed).permutation(sample)], chosen[rest]])
