"""Every statistic once more, by its definition: all pairs, all quadruples, singular values, extended precision.

Rows are taken as they are, centred and divided in `longdouble`. Singular values come from a float64 SVD of the
centred rows (never of a product), which is exact to 1e-15 of the largest one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

LONG = np.longdouble
assert np.finfo(LONG).eps < 1e-18, "the slow statistics need an extended-precision longdouble"

Long = NDArray[Any]


def long(rows: Any) -> Long:
    return np.asarray(rows).astype(LONG)


def centred(rows: Any) -> Long:
    rows = long(rows)
    return rows - rows.mean(0)


def unit(rows: Any) -> Long:
    """Rows of length 1; those of length 0 are left out."""
    rows = long(rows)
    lengths = np.sqrt((rows**2).sum(1))
    return rows[lengths > 0] / lengths[lengths > 0, None]


def pairs(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(n, 1)


def cosine_gaps(rows: Any) -> Long:
    """1 − cos of every pair i < j, as half the squared distance of the unit rows."""
    u = unit(rows)
    i, j = pairs(len(u))
    return ((u[i] - u[j]) ** 2).sum(1) / 2


def mean_cosine_gap(rows: Any) -> float:
    return float(cosine_gaps(rows).mean())


def mean_cosine(rows: Any) -> float:
    u = unit(rows)
    i, j = pairs(len(u))
    return float((u[i] * u[j]).sum(1).mean())


def cosine_std(rows: Any) -> float:
    return float(cosine_gaps(rows).std())


def cosine_share_by_dimension(rows: Any) -> NDArray[np.float64]:
    u = unit(rows)
    i, j = pairs(len(u))
    return (u[i] * u[j]).mean(0).astype(np.float64)


def total_variance(rows: Any) -> float:
    return float((centred(rows) ** 2).sum() / (len(rows) - 1))


def variances(rows: Any) -> NDArray[np.float64]:
    return ((centred(rows) ** 2).sum(0) / (len(rows) - 1)).astype(np.float64)


def covariance(rows: Any) -> Long:
    y = centred(rows)
    return y.T @ y / (len(y) - 1)


def relative_spread(rows: Any) -> float:
    mean = long(rows).mean(0)
    T = (centred(rows) ** 2).sum() / (len(rows) - 1)
    return float(np.sqrt(T / (T + (mean**2).sum())))


def std_ratio(rows: Any) -> float:
    """√D times the mean deviation of unit rows."""
    u = unit(rows)
    return float(np.sqrt(LONG(u.shape[1])) * u.std(0, ddof=1).mean())


def evenness(rows: Any) -> float:
    deviations = unit(rows).std(0, ddof=1)
    return float(deviations.mean() / np.sqrt((deviations**2).mean()))


def singular_values(rows: Any) -> NDArray[np.float64]:
    """Of the centred rows: there are min(n − 1, D) that can differ from 0."""
    y = centred(rows)
    scale = np.abs(y).max() or LONG(1)
    values = np.linalg.svd((y / scale).astype(np.float64), compute_uv=False)[: len(y) - 1]
    values[values < 1e-14 * values[0]] = 0  # rounding of the SVD
    return values * float(scale)


def entropy_rank(values: NDArray[np.float64]) -> float:
    p = values[values > 0] / values.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def effective_rank(rows: Any) -> float:
    return entropy_rank(singular_values(rows))


def spectral_entropy_rank(rows: Any) -> float:
    return entropy_rank(singular_values(rows) ** 2)


def stable_rank(rows: Any) -> float:
    squares = singular_values(rows) ** 2
    return float(squares.sum() / squares[0])


def top_direction_share(rows: Any) -> float:
    return 1 / stable_rank(rows)


def dimensions_for_99(rows: Any) -> float:
    squares = singular_values(rows) ** 2
    return float(next(k for k in range(1, len(squares) + 1) if squares[:k].sum() >= 0.99 * squares.sum() * (1 - 1e-12)))


def live_directions(rows: Any) -> float:
    values = singular_values(rows)
    return float(sum(value >= 1e-3 * values[0] for value in values))


def rankme(rows: Any) -> float:
    values = np.linalg.svd(np.asarray(rows, dtype=np.float64), compute_uv=False)
    p = values / values.sum() + 1e-7
    return float(np.exp(-(p * np.log(p)).sum()))


def participation_ratio_naive(rows: Any) -> float:
    C = covariance(rows)
    return float(np.trace(C) ** 2 / (C**2).sum())


def traces_over_quadruples(rows: Any) -> tuple[float, float]:
    """tr Σ² and (tr Σ)², averaged over all ordered quadruples of distinct rows."""
    y = centred(rows)
    K = y @ y.T
    i, j, k, l = np.array(list(permutations(range(len(y)), 4))).T  # noqa: E741
    inner = K[i, k] - K[i, l] - K[j, k] + K[j, l]
    lengths = (K[i, i] - 2 * K[i, j] + K[j, j]) * (K[k, k] - 2 * K[k, l] + K[l, l])
    return float((inner**2).mean() / 4), float(lengths.mean() / 4)


def participation_ratio(rows: Any) -> float:
    """Ratio of the averages over all quadruples, which for more than 16 rows are summed up by hand."""
    if len(rows) <= 16:
        of_square, square_of = traces_over_quadruples(rows)
        return square_of / of_square
    y = centred(rows)
    n = LONG(len(y))
    C = y.T @ y / (n - 1)
    F, T, Q = (C**2).sum(), np.trace(C), ((y**2).sum(1) ** 2).sum() / (n - 1)
    return float((2 * F + (n * n - 3 * n + 1) * T**2 - n * Q) / ((n - 1) * (n - 2) * F + T**2 - n * Q))


def mean_cosine_standard_error(rows: Any) -> float:
    """√(4(n−2)ζ₁ + 2ζ₂)/√(n(n−1)), with ζ₁ = Var(u·m) less its own sampling bias; u·m is a mean of cosines."""
    u = unit(rows)
    n = len(u)
    to_mean = ((u[:, None] - u[None]) ** 2).sum(-1).mean(1) / 2
    first = max(to_mean.var(ddof=1) - (covariance(u) ** 2).sum() / n, LONG(0))
    return float(np.sqrt((4 * (n - 2) * first + 2 * LONG(cosine_std(rows)) ** 2) / (n * (n - 1))))


# -- distinct ----------------------------------------------------------------------------------------------


def distinct_rows(rows: Any) -> int:
    return len(torch.unique(torch.as_tensor(rows), dim=0))


def distinct_values(rows: Any) -> list[int]:
    return [len(torch.unique(column)) for column in torch.as_tensor(rows).T]


# -- pairs and labels --------------------------------------------------------------------------------------


def distances(rows: Any) -> NDArray[np.float64]:
    rows = long(rows)
    return np.sqrt(((rows[:, None] - rows[None]) ** 2).sum(-1)).astype(np.float64)


def nearest(rows: Any, count: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    table = distances(rows)
    np.fill_diagonal(table, np.inf)
    order = np.argsort(table, axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(table, order, axis=1)


def groups(rows: Any, radius: float) -> list[set[int]]:
    """Connected components of the graph that links rows no farther apart than `radius`."""
    near = distances(rows) <= radius
    left, found = set(range(len(near))), []
    while left:
        group = set()
        front = {min(left)}
        while front:
            group |= front
            front = {int(j) for i in front for j in np.flatnonzero(near[i])} - group
        found.append(group)
        left -= group
    return found


def between_class_share(rows: Any, labels: NDArray[np.intp]) -> float:
    y = centred(rows)
    between = sum((labels == c).sum() * (y[labels == c].mean(0) ** 2).sum() for c in np.unique(labels))
    return float(between / (y**2).sum())


def nearest_centre_accuracy(rows: Any, labels: NDArray[np.intp]) -> float:
    rows = long(rows)
    right = []
    for i, row in enumerate(rows):
        others = np.arange(len(rows)) != i
        if not (labels[others] == labels[i]).any():
            continue
        gaps = {c: ((row - rows[others & (labels == c)].mean(0)) ** 2).sum() for c in np.unique(labels[others])}
        right.append(min(gaps, key=lambda c: gaps[c]) == labels[i])
    return float(np.mean(right))


def neighbour_accuracy(neighbours: NDArray[np.intp], labels: NDArray[np.intp]) -> float:
    """Majority vote; among classes with equally many votes that of the nearest neighbour wins."""
    right = []
    for row, own in zip(neighbours, labels, strict=True):
        votes = [int(labels[j]) for j in row]
        most = max(Counter(votes).values())
        right.append(next(vote for vote in votes if votes.count(vote) == most) == own)
    return float(np.mean(right))


def rank_beside_top_dimension(rows: Any) -> float:
    """Effective rank of the directions without the dimension of the largest variance, if that has more than half."""
    shares = variances(rows) / variances(rows).sum()
    if len(shares) < 2 or not shares.max() > 0.5:
        return math.nan
    return effective_rank(unit(np.delete(long(rows), int(shares.argmax()), axis=1)))


# What `Observations.measurements` streams, by name.
MEASURED: dict[str, Callable[[Any], float]] = {
    "mean_cosine": mean_cosine,
    "mean_cosine_gap": mean_cosine_gap,
    "cosine_std": cosine_std,
    "relative_spread": relative_spread,
    "unit_spread": lambda rows: relative_spread(unit(rows)),
    "std_ratio": std_ratio,
    "evenness": evenness,
    "effective_rank": effective_rank,
    "unit_effective_rank": lambda rows: effective_rank(unit(rows)),
    "spectral_entropy_rank": spectral_entropy_rank,
    "participation_ratio": participation_ratio,
    "unit_participation_ratio": lambda rows: participation_ratio(unit(rows)),
    "stable_rank": stable_rank,
    "dimensions_for_99": dimensions_for_99,
    "live_directions": lambda rows: live_directions(unit(rows)),
    "top_direction_share": top_direction_share,
    "rankme": rankme,
    "distinct_rows": distinct_rows,
    "distinct_values_median": lambda rows: float(np.median(distinct_values(rows))),
    "norm_median": lambda rows: float(np.median(np.sqrt((long(rows) ** 2).sum(1)))),
    "norm_cv": lambda rows: float(np.sqrt((long(rows) ** 2).sum(1)).std() / np.sqrt((long(rows) ** 2).sum(1)).mean()),
    "dimension_std_median": lambda rows: float(np.median(np.sqrt(variances(rows)))),
    "top_dimension_share": lambda rows: float(variances(rows).max() / variances(rows).sum()),
    "rank_beside_top_dimension": rank_beside_top_dimension,
    "top_dimension_cosine_share": lambda rows: float(
        np.abs(cosine_share_by_dimension(rows)).max() / abs(cosine_share_by_dimension(rows).sum())
    ),
}
