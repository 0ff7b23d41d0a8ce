"""Intervals from statistics recomputed with one block of rows left out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

# Two-sided 95 % quantiles of Student's t by degrees of freedom 1..30.
T_QUANTILES = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def standard_error(whole: float, left_out: Sequence[float], sizes: Sequence[int]) -> float:
    """Delete-m jackknife for blocks of unequal sizes (Busing, Meijer & van der Leeden 1999).

    With equal sizes it is √((B−1)/B · Σ(θ₍₋b₎ − mean)²). The plain form would take the growth of a rank with the
    number of rows for its scatter: with fewer rows than dimensions, tenfold. NaN for fewer than two blocks or
    when a value is not finite.
    """
    shifts = whole - np.asarray(left_out, dtype=np.float64)
    if len(shifts) < 2 or not np.isfinite(shifts).all():
        return math.nan
    m = np.asarray(sizes, dtype=np.float64)
    h = m.sum() / m
    pseudo = (h - 1) * shifts  # pseudo-values, and below their centre, less the whole value
    centre = float((pseudo / h).sum())
    return math.sqrt(float(((pseudo - centre) ** 2 / (h - 1)).mean()))


def half_width(whole: float, left_out: Sequence[float], sizes: Sequence[int]) -> float:
    """Half the width of the 95 % interval: Student's t with B−1 degrees of freedom times the standard error."""
    freedom = len(left_out) - 1
    if freedom < 1:
        return math.nan
    return T_QUANTILES[min(freedom, len(T_QUANTILES)) - 1] * standard_error(whole, left_out, sizes)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean of independent values: Student's t; NaN for fewer than two."""
    freedom = len(values) - 1
    if freedom < 1:
        return (math.nan, math.nan)
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = T_QUANTILES[min(freedom, len(T_QUANTILES)) - 1] * error
    return (mean - half, mean + half)


def wilson(successes: float, trials: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927): stays inside [0, 1], sensible at 0 and 1."""
    if trials < 1:
        return (math.nan, math.nan)
    p, z2 = successes / trials, z * z
    centre = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = z / (1 + z2 / trials) * math.sqrt(p * (1 - p) / trials + z2 / (4 * trials * trials))
    return (max(centre - half, 0.0), min(centre + half, 1.0))
