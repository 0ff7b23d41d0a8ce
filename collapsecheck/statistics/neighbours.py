"""Numbers that need pairs, taken on a bounded sample: neighbours and quantiles of the cosine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collapsecheck.statistics.moments import ROUNDING, Array

# Rows no farther than this share of the length of their mean from it form a narrow cone.
CONE = 0.1

CHUNK = 512  # rows of the distance matrix formed at a time


def unit_rows(rows: NDArray[np.generic]) -> Array:
    """Rows [n, D] scaled to length 1 in float64; zero rows stay zero."""
    rows = np.asarray(rows, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, np.inf))


def unit_deviations(rows: NDArray[np.generic]) -> Array:
    """Unit rows minus their mean [m, D]; zero rows are left out; exactly 0 for parallel rows.

    In a narrow cone the unit rows, rounded to eps of their length, would keep few digits of their deviations.
    These are then formed from the deviations y = x − c of the rows from their mean c instead: with l = ‖x‖,
    x/l − c/‖c‖ = y/l − c·(2y·c + ‖y‖²) / (l·‖c‖·(l + ‖c‖)), where nothing cancels but the first order along c.
    """
    x = np.asarray(rows, dtype=np.float64)
    lengths = np.linalg.norm(x, axis=1)
    x, lengths = x[lengths > 0], lengths[lengths > 0]
    if not len(x):
        return np.asarray(x)
    c = x.mean(0)
    y = x - c
    r, length = np.einsum("ij,ij->i", y, y), float(np.linalg.norm(c))
    if r.max() <= (CONE * length) ** 2:
        stretch = (2 * y @ c + r) / (lengths * length * (lengths + length))
        deviations = y / lengths[:, None] - stretch[:, None] * c
    else:
        deviations = x / lengths[:, None]
    deviations -= deviations.mean(0)
    return np.asarray(deviations if np.abs(deviations).max() > ROUNDING else np.zeros_like(deviations))


def nearest(rows: Array, count: int = 1) -> tuple[NDArray[np.intp], Array]:
    """Indices and Euclidean distances [n, count] of each row's nearest other rows, nearest first."""
    n = len(rows)
    count = min(count, n - 1)
    squared = np.einsum("ij,ij->i", rows, rows)
    indices = np.empty((n, count), np.intp)
    distances = np.empty((n, count))
    for start in range(0, n, CHUNK):
        stop = min(start + CHUNK, n)
        block = squared[start:stop, None] + squared[None, :] - 2 * rows[start:stop] @ rows.T
        block[np.arange(stop - start), np.arange(start, stop)] = np.inf
        chosen = np.argpartition(block, count - 1, axis=1)[:, :count]
        # by differences, since the expanded form loses all digits for close rows
        exact = np.linalg.norm(rows[start:stop, None, :] - rows[chosen], axis=2)
        order = np.argsort(exact, axis=1, kind="stable")
        indices[start:stop] = np.take_along_axis(chosen, order, axis=1)
        distances[start:stop] = np.take_along_axis(exact, order, axis=1)
    return indices, distances


def pair_sample(n: int, pairs: int = 100_000, seed: int = 0) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """All pairs i < j of n rows when there are no more than `pairs` of them, else that many random ones."""
    if n * (n - 1) // 2 <= pairs:
        first, second = np.triu_indices(n, 1)
        return first, second
    random = np.random.default_rng(seed)
    first = random.integers(0, n, pairs)
    second = (first + random.integers(1, n, pairs)) % n
    return first, second


def pair_cosines(unit: Array, pairs: tuple[NDArray[np.intp], NDArray[np.intp]]) -> Array:
    """Cosines of sampled pairs of unit rows [m], as 1 − ‖u − w‖²/2, which keeps digits near 1."""
    first, second = pairs
    out = np.empty(len(first))
    for start in range(0, len(first), 8192):
        chosen = slice(start, start + 8192)
        gap = unit[first[chosen]] - unit[second[chosen]]
        out[chosen] = 1 - np.einsum("ij,ij->i", gap, gap) / 2
    return out


def neighbour_ratio(distances: Array, typical: float) -> float:
    """Median nearest-neighbour distance over the typical (median) pair distance, in [0, about 1].

    Isotropic rows: about n^(−1/D) up to a constant (0.88 for 1000 × 256). Near 0: rows sit on few tight points.
    """
    return float(np.median(distances)) / typical if typical > 0 else float("nan")


def tight_groups(indices: NDArray[np.intp], distances: Array, radius: float) -> NDArray[np.intp]:
    """Label rows [n] by the group they form with neighbours nearer than `radius` (single linkage).

    `indices`, `distances` [n, k] come from `nearest`. Rows without such a neighbour are groups of their own.
    """
    parent = np.arange(len(indices))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
        return i

    for i, j in zip(*np.nonzero(distances <= radius), strict=True):
        a, b = root(int(i)), root(int(indices[i, j]))
        if a != b:
            parent[max(a, b)] = min(a, b)
    _, labels = np.unique([root(i) for i in range(len(indices))], return_inverse=True)
    return np.asarray(labels, dtype=np.intp)
