"""Rank of a cloud of rows, by several names. λ are eigenvalues of the covariance, σ = √λ up to scale.

Always say which: for a spectrum λ_i ∝ 1/i in 2048 dimensions the effective rank over σ is 1588 and over λ 281.
Centred spectra cannot see complete collapse (constant plus noise is full rank): test the spread first.
"""

from __future__ import annotations

import math

import numpy as np

from collapsecheck.statistics.moments import ROUNDING, Array, Moments, moments_of, squared_lengths

# Above this dimension the exact route to RankMe (an SVD) costs more than it tells.
SVD_LIMIT = 1024

# Eigenvalues are exact to this share of their sum; smaller ones are rounding (measured: at most 5 of the 16 eps).
RESOLUTION = 16 * 2.0**-52

# Unit rows that reach less far around their mean than this hardly move along it: see `unit_eigenvalues`.
NARROW = 1e-3


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


def unit_eigenvalues(unit: Moments) -> Array:
    """`eigenvalues` of rows of length 1, exact for a narrow cone too, where the covariance alone is not.

    A row u = m + y around the mean m moves along it by (1 − ‖m‖² − ‖y‖²) / 2‖m‖: by the square of the spread.
    Of a spread of 1e-7 the covariance holds that as 1e-28 beside 1e-14, which is rounding. But the same identity
    gives its variance and its covariances from Σ r, Σ r² and Σ r·y, with r = ‖y‖², without any cancellation.
    """
    if unit.n < 2 or not _narrow(unit.total_variance, unit.mean):
        return eigenvalues(unit)
    about = unit.moved_to(unit.mean)
    n, m = about.n, about.pivot
    length = math.sqrt(float(m @ m))
    along = m / length
    C = about.covariance
    C = C - np.outer(C @ along, along)
    C = C - np.outer(along, along @ C)
    values, vectors = np.linalg.eigh((C + C.T) / 2)
    values = _resolved(np.asarray(values), about)
    shared = vectors.T @ (about.v - about.q1 * about.s / n) / (n - 1)
    alone = (about.q2 - about.q1**2 / n) / (n - 1)
    return _with_direction_along_mean(values, shared, alone, 2 * length, unit)[: min(len(values), n - 1)]


def unit_eigenvalues_of_rows(unit: Array) -> Array:
    """The same from the rows of length 1 themselves [n, D], by way of their n × n products."""
    moments = moments_of(unit, second_order=False)
    if moments.n < 2 or not _narrow(moments.total_variance, moments.mean):
        return eigenvalues_of_rows(unit)
    n, m = moments.n, moments.mean
    length = math.sqrt(float(m @ m))
    y = unit - m
    r = squared_lengths(y)
    y = y - np.outer(y @ (m / length), m / length)
    y -= y.mean(0)
    values, vectors = np.linalg.eigh(y @ y.T)
    values = _resolved(np.asarray(values) / (n - 1), moments)
    r = r - r.mean()
    shared = vectors.T @ r * np.sqrt(values / (n - 1))
    return _with_direction_along_mean(values, shared, float(r @ r) / (n - 1), 2 * length, moments)[: n - 1]


def _narrow(variance: float, mean: Array) -> bool:
    return 0 < variance < NARROW**2 * float(mean @ mean)


def _with_direction_along_mean(values: Array, shared: Array, alone: float, scale: float, unit: Moments) -> Array:
    """Eigenvalues across the mean with the one along it put to them, largest first.

    `shared` are the covariances of r with each principal direction across the mean, `alone` its variance. The
    singular values of a Cholesky factor, not of the matrix, keep the small one: its square would be rounding.
    """
    live = values > 0
    across = np.sqrt(values[live])
    coupling = shared[live] / across
    rest = alone - float(coupling @ coupling)
    rounding = 16 * ROUNDING / math.sqrt(unit.total_variance)  # of r, relative: y keeps eps of the row's length
    corner = math.sqrt(rest) if rest > rounding * alone else 0.0
    factor = np.diag(np.append(across, corner / scale))
    factor[-1, :-1] = coupling / scale
    found = np.linalg.svd(factor, compute_uv=False) ** 2
    return np.append(found, np.zeros(len(values) - len(found))) if len(found) < len(values) else found


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
