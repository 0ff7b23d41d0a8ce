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


def standard_error(left_out: Sequence[float]) -> float:
    """√((B−1)/B · Σ(θ₍₋b₎ − mean)²) over B blocks of about equal size (Quenouille 1956; Shao & Wu 1989).

    NaN for fewer than two blocks or when a left-out value is not finite.
    """
    values = np.asarray(left_out, dtype=np.float64)
    if len(values) < 2 or not np.isfinite(values).all():
        return math.nan
    return math.sqrt((len(values) - 1) / len(values) * float(((values - values.mean()) ** 2).sum()))


def half_width(left_out: Sequence[float]) -> float:
    """Half the width of the 95 % interval: Student's t with B−1 degrees of freedom times the standard error."""
    freedom = len(left_out) - 1
    if freedom < 1:
        return math.nan
    return T_QUANTILES[min(freedom, len(T_QUANTILES)) - 1] * standard_error(left_out)


def wilson(successes: float, trials: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927): stays inside [0, 1], sensible at 0 and 1."""
    if trials < 1:
        return (math.nan, math.nan)
    p, z2 = successes / trials, z * z
    centre = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = z / (1 + z2 / trials) * math.sqrt(p * (1 - p) / trials + z2 / (4 * trials * trials))
    return (max(centre - half, 0.0), min(centre + half, 1.0))
