"""What n isotropic Gaussian rows in D dimensions would show: the ceiling each rank must be read against.

`m = min(n−1, D)` and `M = max(n−1, D)` throughout (centred rows).
"""

from __future__ import annotations

import math

import numpy as np


def _aspect(n: int, dimension: int, *, centred: bool) -> tuple[int, int]:
    rows = n - 1 if centred else n
    return max(min(rows, dimension), 0), max(rows, dimension)


def effective_rank(n: int, dimension: int, *, centred: bool = True) -> float:
    """Expected effective rank over σ, by quadrature of the Marchenko–Pastur law; within 1 % for m ≥ 8.

    m·exp(ln E√x − E[√x ln √x]/E√x) with x distributed by Marchenko–Pastur of aspect m/M.
    """
    m, M = _aspect(n, dimension, centred=centred)
    if m < 1:
        return float("nan")
    if m == 1:
        return 1.0
    y = m / M
    low, high = (1 - math.sqrt(y)) ** 2, (1 + math.sqrt(y)) ** 2
    t = (np.arange(4000) + 0.5) * math.pi / 4000
    x = (low + high) / 2 + (high - low) / 2 * np.cos(t)
    x = np.maximum(x, 1e-300)
    # density √((b−x)(x−a))/(2πyx) times |dx/dt|, both proportional to sin t
    weight = np.sin(t) ** 2 / x
    weight /= weight.sum()
    sigma = np.sqrt(x)
    mean = float(weight @ sigma)
    return m * math.exp(math.log(mean) - float(weight @ (sigma * np.log(sigma))) / mean)


def spectral_entropy_rank(n: int, dimension: int) -> float:
    """Expected effective rank over λ: m·exp(−m/(2M)) (mean entropy of a random subsystem, Page 1993)."""
    m, M = _aspect(n, dimension, centred=True)
    return m * math.exp(-m / (2 * M)) if m else float("nan")


def participation_ratio_naive(n: int, dimension: int) -> float:
    """1/(1/(n−1) + 1/D): the uncorrected participation ratio of isotropic rows."""
    return 1 / (1 / (n - 1) + 1 / dimension) if n > 1 else float("nan")


def stable_rank(n: int, dimension: int) -> float:
    """D/(1 + √(D/n))², from the upper edge of the Marchenko–Pastur law."""
    return dimension / (1 + math.sqrt(dimension / n)) ** 2 if n else float("nan")


def cosine_std(dimension: int) -> float:
    """1/√D: deviation of the cosine of two independent random directions."""
    return 1 / math.sqrt(dimension)


def mean_cosine_deviation(n: int, dimension: int) -> float:
    """√2/(n√D): standard error of the mean cosine of n isotropic rows about 0."""
    return math.sqrt(2) / (n * math.sqrt(dimension)) if n else float("nan")


def between_class_share(n: int, classes: int) -> float:
    """(C−1)/(n−1): share of the variance that labels explain by chance."""
    return (classes - 1) / (n - 1) if n > 1 else float("nan")


def neighbour_ratio(n: int, intrinsic_dimension: float) -> float:
    """n^(−1/dimension): nearest over typical distance in a continuous cloud of that dimension, up to a constant."""
    if not intrinsic_dimension > 0 or n < 2:
        return float("nan")
    return float(n ** (-1 / max(intrinsic_dimension, 1.0)))
