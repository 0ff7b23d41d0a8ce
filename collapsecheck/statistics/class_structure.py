"""How embeddings relate to labels: what is expected of a classifier, and what is lost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collapsecheck.statistics.moments import Array

Labels = NDArray[np.intp]


def between_class_share(rows: Array, labels: Labels) -> float:
    """η² = 1 − tr Σ_W/tr Σ_T, in [0, 1]: variance explained by the labels; random labels give (C−1)/(n−1).

    → 1 in neural collapse (Papyan, Han & Donoho 2020), of which it is the robust form (no pseudo-inverse).
    """
    total = float(((rows - rows.mean(0)) ** 2).sum())
    if not total > 0:
        return float("nan")
    within = sum(float(((rows[labels == c] - rows[labels == c].mean(0)) ** 2).sum()) for c in np.unique(labels))
    return 1 - within / total


def nearest_centre_accuracy(rows: Array, labels: Labels) -> float:
    """Share of rows nearest to the mean of their own class, each left out of that mean; chance 1/C.

    Rows that are alone in their class are not counted. NaN when no class has two rows.
    """
    rows = rows - rows.mean(0)  # else the squares below lose the digits that matter
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.zeros((len(classes), rows.shape[1]))
    np.add.at(sums, inverse, rows)
    means = sums / counts[:, None]
    counted = counts[inverse] > 1
    if not counted.any() or len(classes) < 2:
        return float("nan")
    squared = ((rows**2).sum(1)[:, None] - 2 * rows @ means.T) + (means**2).sum(1)[None, :]
    k = counts[inverse].astype(float)
    # leaving x out moves the mean of its class: ‖x − mean₋ₓ‖ = k/(k−1)·‖x − mean‖
    own = squared[np.arange(len(rows)), inverse] * (k / np.maximum(k - 1, 1)) ** 2
    squared[np.arange(len(rows)), inverse] = np.inf
    return float((own < squared.min(1))[counted].mean())


def neighbour_accuracy(neighbours: NDArray[np.intp], labels: Labels) -> float:
    """Accuracy of a majority vote among each row's k nearest neighbours [n, k], the nearest one breaking ties."""
    votes = labels[neighbours]
    k = votes.shape[1]
    # each vote weighs 1, and a little more by rank, less than 1 in all: the nearest wins a tie
    weights = 1 + 0.5 ** np.arange(1, k + 1)
    support = np.stack([((votes == votes[:, j : j + 1]) * weights).sum(1) for j in range(k)], axis=1)
    winners = votes[np.arange(len(votes)), support.argmax(1)]
    return float((winners == labels).mean())


def chance(labels: Labels) -> float:
    """Accuracy of always naming the largest class, in (0, 1]."""
    return float(np.unique(labels, return_counts=True)[1].max() / len(labels))
