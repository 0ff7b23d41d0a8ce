"""Mean and spread of the cosine similarity over all pairs of rows, without forming a pair.

All functions take the `Moments` of *unit* rows (zero rows left out). The starting point is the identity
1 − cos(u, w) = ‖u − w‖² / 2, which holds for unit vectors and is invariant to the pivot: the sums of
`1 − cos` and of its square over all pairs follow from pivoted sums without cancellation, so that both keep
their relative precision when every cosine is 0.99999999.
"""

from __future__ import annotations

import math

import numpy as np

from collapsecheck.statistics.moments import Array, Moments

# The mean of (1 − cos)² is exact to this share of itself: cosines that differ by less are equal.
RESOLUTION = 16 * 2.0**-52


def mean_cosine_gap(unit: Moments) -> float:
    """Mean of 1 − cos over all pairs i ≠ j, in [0, n/(n−1)]; equals tr C of the unit rows exactly.

    Print it beside a mean cosine of 1.0000: it says how close to 1. NaN for fewer than two rows.
    """
    return unit.total_variance


def mean_cosine(unit: Moments) -> float:
    """Mean cosine similarity over all pairs, in [−1/(n−1), 1]; isotropic rows give 0 ± √2/(n√D).

    Used as "anisotropy" by Ethayarajh (2019). High values are not a fault by themselves: plain ReLU features
    of noise have 1/π. Identity: (‖Σu‖² − n)/(n(n−1)).
    """
    return 1.0 - mean_cosine_gap(unit)


def _mean_squared_gap(unit: Moments) -> float:
    """Mean of (1 − cos)² over all pairs, from ‖y_i − y_j‖⁴ expanded in the pivoted sums."""
    if unit.G is None:
        return float("nan")
    n = unit.n
    total = (
        2 * n * unit.q2 + 2 * unit.q1**2 + 4 * float(np.einsum("ij,ij->", unit.G, unit.G)) - 8 * float(unit.v @ unit.s)
    )
    return max(total, 0.0) / (4 * n * (n - 1))


def cosine_std(unit: Moments) -> float:
    """Standard deviation of the cosine over all pairs, in [0, 1]; isotropic rows give 1/√D.

    Large for few clusters and for low rank, small in a cone. NaN for fewer than two rows.
    """
    if unit.n < 2:
        return float("nan")
    square, gap = _mean_squared_gap(unit), mean_cosine_gap(unit)
    variance = square - gap**2
    return 0.0 if variance <= RESOLUTION * square else math.sqrt(variance)


def _variance_along_mean(unit: Moments) -> float:
    """Var(u·m) for the mean m: mᵀCm without cancellation when all rows are close to m.

    Up to a constant u·m is −‖y‖²/2 + y·ȳ, since ‖pivot + y‖ = 1: fourth powers of the spread, which C cannot hold.
    """
    y = unit.s / unit.n
    total = -unit.q1 / 2 + float(unit.s @ y)
    squares = unit.q2 / 4 - float(unit.v @ y) + float(y @ unit.G @ y)
    return (squares - total**2 / unit.n) / (unit.n - 1)


def mean_cosine_standard_error(unit: Moments) -> float:
    """Standard error of the mean cosine as a U-statistic of order two (Hoeffding 1948).

    Var = 4(n−2)ζ₁/(n(n−1)) + 2ζ₂/(n(n−1)). ζ₁ = Var(u·m) is estimated by mᵀCm less its own sampling bias
    tr C²/n, so that the formula holds at a mean cosine of 0 too, where ζ₁ vanishes and ζ₂ rules.
    """
    n = unit.n
    if n < 3 or unit.G is None:
        return float("nan")
    C = unit.covariance
    first = max(_variance_along_mean(unit) - float(np.einsum("ij,ij->", C, C)) / n, 0.0)
    second = cosine_std(unit) ** 2
    return math.sqrt((4 * (n - 2) * first + 2 * second) / (n * (n - 1)))


def cosine_share_by_dimension(unit: Moments) -> Array:
    """Contribution of each dimension to the mean cosine [D]; sums to the mean cosine.

    A single dimension with more than half of it is a rogue dimension (Timkey & van Schijndel 2021).
    """
    n = unit.n
    if n < 2:
        return np.full(unit.pivot.shape, np.nan)
    mean = unit.mean
    # (Σu)_d² − Σu_d² = n(n−1)·mean_d² − (n−1)·var_d, each term without cancellation.
    return np.asarray(mean**2 - unit.variances / n)
