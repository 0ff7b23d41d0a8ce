"""Rank of a cloud of rows, by several names. λ are eigenvalues of the covariance, σ = √λ up to scale.

Always say which: for a spectrum λ_i ∝ 1/i in 2048 dimensions the effective rank over σ is 1588 and over λ 281.
Centred spectra cannot see complete collapse (constant plus noise is full rank): test the spread first.
"""

from __future__ import annotations

import math

import numpy as np

from collapsecheck.statistics.moments import ROUNDING, Array, Moments

# Above this dimension the exact route to RankMe (an SVD) costs more than it tells.
SVD_LIMIT = 1024

# Eigenvalues are exact to this share of their sum; smaller ones are rounding (measured: at most 5 of the 16 eps).
RESOLUTION = 16 * 2.0**-52


def eigenvalues(rows: Moments) -> Array:
    """Eigenvalues of the covariance [min(D, n−1)], largest first, 0 below rounding; empty for n < 2."""
    if rows.n < 2:
        return np.zeros(0)
    values = _resolved(np.asarray(np.linalg.eigvalsh(rows.covariance)[::-1]), rows)
    return values[: min(len(values), rows.n - 1)]


def eigenvalues_of_rows(rows: Array) -> Array:
    """The same from the rows themselves [n, D], by way of their n × n products: for n < D much less work."""
    n = len(rows)
    if n < 2:
        return np.zeros(0)
    centred = rows - rows[0]  # first, so that equal rows leave exact zeros
    centred -= centred.mean(0)
    products = centred @ centred.T
    values = np.linalg.eigvalsh(products)[:0:-1] / (n - 1)
    spread = float(np.trace(products))
    mean = rows.mean(0)
    if spread <= n * ROUNDING**2 * float(mean @ mean):  # as in `Moments.deviation`: equal but for rounding
        return np.zeros(n - 1)
    return np.where(values > RESOLUTION * spread / (n - 1), values, 0.0)


def _resolved(values: Array, rows: Moments) -> Array:
    """Eigenvalues of a covariance, those that are rounding set to 0 (all of them for equal rows)."""
    smallest = RESOLUTION * rows.q1 / (rows.n - 1) if rows.total_variance > 0 else math.inf
    return np.where(values > smallest, values, 0.0)


def entropy_rank(values: Array) -> float:
    """exp of the Shannon entropy of values / sum, with 0·log 0 = 0; NaN when all are 0."""
    total = float(values.sum()) if len(values) else 0.0
    if not total > 0:
        return float("nan")
    p = values[values > 0] / total
    return math.exp(-float(p @ np.log(p)))


def effective_rank(eigenvalues: Array) -> float:
    """exp H(σ/Σσ) of the centred rows, in [1, min(n−1, D)] (Roy & Vetterli 2007).

    Generous to a noise floor; compare with `nulls.effective_rank` for the same n and D.
    """
    return entropy_rank(np.sqrt(eigenvalues))


def spectral_entropy_rank(eigenvalues: Array) -> float:
    """exp H(λ/Σλ) of the centred rows, in [1, min(n−1, D)] (von Neumann entropy of the covariance)."""
    return entropy_rank(eigenvalues)


def stable_rank(eigenvalues: Array) -> float:
    """Σλ / λ₁, in [1, D] (Rudelson & Vershynin 2007; NESum of He & Ozay 2022). One rogue dimension rules it."""
    return float(eigenvalues.sum() / eigenvalues[0]) if len(eigenvalues) and eigenvalues[0] > 0 else float("nan")


def top_direction_share(eigenvalues: Array) -> float:
    """λ₁ / Σλ, in [1/D, 1]: variance along the strongest direction."""
    return 1.0 / stable_rank(eigenvalues)


def dimensions_for_99(eigenvalues: Array) -> float:
    """Smallest k whose k strongest directions hold 99 % of the variance, in [1, min(n−1, D)]."""
    if not len(eigenvalues) or not eigenvalues[0] > 0:
        return float("nan")
    cumulative = np.cumsum(eigenvalues)
    return float(np.searchsorted(cumulative, 0.99 * cumulative[-1] * (1 - 1e-12)) + 1)


def live_directions(eigenvalues: Array, ratio: float = 1e-3) -> float:
    """Number of directions whose deviation σ is at least `ratio` of the largest, in [1, min(n−1, D)].

    A hard low rank (a bottleneck, a rank-one projection) has few; a trained network with a decaying spectrum
    keeps nearly all, however low its effective rank.
    """
    if not len(eigenvalues) or not eigenvalues[0] > 0:
        return float("nan")
    return float((eigenvalues >= ratio**2 * eigenvalues[0]).sum())


def participation_ratio_naive(rows: Moments) -> float:
    """T²/‖C‖_F², in [1, min(n−1, D)] (Gao & Ganguli 2015). Too small for n not ≫ D: 1/PR ≈ 1/PR_true + 1/n."""
    if rows.n < 2 or not rows.total_variance > 0:
        return float("nan")
    C = rows.covariance
    return rows.total_variance**2 / float(np.einsum("ij,ij->", C, C))


def participation_ratio(rows: Moments) -> float:
    """Unbiased, row-corrected participation ratio (tr Σ)²/tr Σ², in [1, D]; isotropic rows give D for any n.

    Ratio of two U-statistics over four distinct rows (Chun, Canatar, Chung & Lee 2026, 2509.26560; the
    U-statistics are those of Chen & Qin 2010). Needs n ≥ 4; NaN where the denominator is not positive. Not
    clamped: sampling noise can carry it past D.
    """
    n = rows.n
    if n < 4 or rows.G is None or not rows.total_variance > 0:
        return float("nan")
    G, s = rows.G, rows.s
    mean = s / n
    a = float(mean @ mean)
    C = rows.covariance
    T = rows.total_variance
    F = float(np.einsum("ij,ij->", C, C))
    Q = (
        rows.q2
        + 4 * float(mean @ G @ mean)
        + n * a * a
        - 4 * float(rows.v @ mean)
        + 2 * a * rows.q1
        - 4 * a * float(s @ mean)
    ) / (n - 1)
    trace_of_square = (n - 1) * (n - 2) * F + T**2 - n * Q
    square_of_trace = 2 * F + (n * n - 3 * n + 1) * T**2 - n * Q
    # The denominator is a difference: below rounding it carries no information.
    if trace_of_square <= 1e-12 * (n - 1) * (n - 2) * F:
        return float("nan")
    return square_of_trace / trace_of_square


def rankme(rows: Moments, eps: float = 1e-7, held: Array | None = None) -> float:
    """exp H of p = σ/‖σ‖₁ + eps over the *uncentred* rows, in [1, min(n, D)] (Garrido et al. 2023, 2210.02885).

    One large mean direction lowers it much; its authors compare runs of one method only, and no absolute
    threshold exists: it is reported for comparison. `held` are the rows themselves, where they are at hand.
    """
    n, D = rows.n, len(rows.pivot)
    if not n:
        return float("nan")
    if held is not None and n <= SVD_LIMIT:
        sigma = np.linalg.svd(held, compute_uv=False)
    elif held is not None:
        sigma = np.sqrt(np.maximum(np.linalg.eigvalsh(held @ held.T)[::-1], 0))
    elif n > 1 and D <= SVD_LIMIT:
        # Singular values of [√(n−1)·√Λ ; √n·mean] in the eigenbasis: squaring a large mean would drown the rest.
        values, vectors = np.linalg.eigh(rows.covariance)
        deviations = np.sqrt(_resolved(np.asarray(values), rows) * (n - 1))
        stacked = np.vstack([np.diag(deviations), math.sqrt(n) * (rows.mean @ vectors)])
        sigma = np.linalg.svd(stacked, compute_uv=False)
    else:
        sigma = np.sqrt(np.maximum(np.linalg.eigvalsh(rows.raw_second_moment), 0))[::-1]
    sigma = sigma[: min(n, D)]
    if not sigma[0] > 0:
        return float("nan")
    p = sigma / sigma.sum() + eps
    return math.exp(-float(p @ np.log(p)))
