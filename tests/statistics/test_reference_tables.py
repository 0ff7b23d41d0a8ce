"""Numbers known from theory, from other libraries or from independent programs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from collapsecheck.statistics import cosine, nulls, spectrum, spread
from collapsecheck.statistics.moments import Moments, moments_of
from collapsecheck.statistics.neighbours import unit_rows

Rows = np.ndarray


def unit_moments(rows: Rows) -> Moments:
    unit = unit_rows(rows)
    return moments_of(unit[unit.any(axis=1)])


def numbers(rows: Rows) -> dict[str, float]:
    """All numbers of the tables, by the name they have there."""
    raw, unit = moments_of(rows), unit_moments(rows)
    values = spectrum.eigenvalues(raw)
    naive = spectrum.participation_ratio_naive(raw)
    return {
        "cos": cosine.mean_cosine(unit),
        "mean cos²": cosine.cosine_std(unit) ** 2 + cosine.mean_cosine(unit) ** 2,
        "cos std": cosine.cosine_std(unit),
        "cos SE": cosine.mean_cosine_standard_error(unit),
        "std ratio": spread.std_ratio(unit),
        "T": raw.total_variance,
        "r": spread.relative_spread(raw),
        "r unit": spread.relative_spread(unit),
        "PR naive": naive,
        "IsoScore": (naive - 1) / (rows.shape[1] - 1),
        "PR": spectrum.participation_ratio(raw),
        "PR unit": spectrum.participation_ratio(unit),
        "erankλ": spectrum.spectral_entropy_rank(values),
        "erankσ": spectrum.effective_rank(values),
        "RankMe": spectrum.rankme(raw),
        "stable rank": spectrum.stable_rank(values),
        "n99": spectrum.dimensions_for_99(values),
    }


def sine() -> Rows:
    return np.sin(0.7 * np.arange(1, 301)[:, None] * np.arange(1, 9)) + 0.3


def offset_power_law() -> Rows:
    rows = np.random.default_rng(0).standard_normal((300, 64)) * np.arange(1, 65) ** -0.5
    return rows + 0.3


def simplex(copies: int) -> Rows:
    return np.repeat(np.eye(10) - 0.1, copies, axis=0)


EXACT: dict[str, tuple[Rows, dict[str, float]]] = {
    "five rows": (
        np.array([(1, 0), (0, 1), (1, 1), (2, 0), (0, 3)], float),
        {
            "cos": (2 + 4 / 2**0.5) / 10,
            "mean cos²": 0.4,
            "cos std": 0.408488573904,
            "T": 2.2,
            "r": 0.756912588524,
            "PR naive": 1.2522639068564,
            "PR": 1.65,
            "erankλ": 1.42482804939,
            "erankσ": 1.78041131800,
            "RankMe": 1.97362752,
            "stable rank": 1.12820512821,
        },
    ),
    "sine": (
        sine(),
        {
            "cos": 0.128180834904,
            "cos std": 0.364071965769,
            "std ratio": 0.933582024939,
            "T": 4.018458065429,
            "r": 0.920785216602,
            "PR naive": 7.726955807638,
            "PR": 7.915695240521,
            "erankλ": 7.859059010322,
            "erankσ": 7.964048300772,
            "RankMe": 7.833136188799,
            "stable rank": 6.728912236887,
            "IsoScore": 0.960993686805,
        },
    ),
    "power law with an offset": (
        offset_power_law(),
        {
            "cos": 0.5516096068680398,
            "cos std": 0.13695513885789,
            "PR naive": 12.635168865662,
            "PR": 13.22917571225,  # the `dimensionality` package agrees
            "IsoScore": 0.18468522008987,
        },
    ),
    "identity": (np.eye(10), {"std ratio": 1.0, "cos": 0.0}),
    "one-hot clusters": (np.repeat(np.eye(10), 100, axis=0), {"cos": 99 / 999, "PR naive": 9, "erankλ": 9}),
    "simplex": (simplex(1), {"cos": -1 / 9}),
    "simplex, 100 copies": (
        simplex(100),
        {"cos": -1 / 999, "PR naive": 9, "PR": 9.0727, "erankλ": 9},
    ),
    "two poles": (np.repeat([[3.0, 4.0], [-3.0, -4.0]], 50, axis=0), {"PR naive": 1, "PR": 1, "erankσ": 1}),
}


@pytest.mark.parametrize("case", EXACT)
def test_exact(case: str) -> None:
    rows, wanted = EXACT[case]
    got = numbers(rows)
    for name, want in wanted.items():
        digits = len(f"{want:.14g}".replace("-", "").lstrip("0.").replace(".", ""))
        np.testing.assert_allclose(
            got[name], want, rtol=max(0.6 * 10 ** (1 - digits), 1e-12), atol=1e-13, err_msg=f"{case}: {name}"
        )


def test_the_standard_error_is_near_the_plug_in_one() -> None:
    """The table's is 2√((mᵀSm − ‖m‖⁴)/n); ours takes the bias out of it and adds the second-order term."""
    np.testing.assert_allclose(numbers(sine())["cos SE"], 0.015589231249, rtol=0.02)


def test_every_cosine_of_a_simplex_is_the_same() -> None:
    assert numbers(simplex(1))["cos std"] < 1e-7


def test_constant_rows_are_undetermined() -> None:
    got = numbers(np.full((100, 8), 0.7))
    assert (got["std ratio"], got["cos"], got["r"]) == (0, 1, 0)
    np.testing.assert_allclose(got["RankMe"], 1, atol=1e-4)
    for name in ("PR", "PR naive", "PR unit", "erankλ", "erankσ", "stable rank", "n99"):
        assert np.isnan(got[name]), name


# -- spectra of the power law: population values -------------------------------------------------------------

POWER_LAW = {  # α: (PR, erankλ, erankσ) at D = 128, 512, 2048, then λ₁ share
    0.5: ((82.8, 281.7, 967.0), (107, 410, 1587), (124, 492, 1961), (21.2, 43.8, 89.1)),
    1.0: ((18.03, 28.28, 40.91), (47.0, 117.2, 281.4), (107, 410, 1588), (5.43, 6.82, 8.20)),
    1.5: ((4.94, 5.30, 5.49), (13.0, 17.0, 19.9), (78, 261, 882), (2.44, 2.52, 2.57)),
    2.0: ((2.476, 2.494, 2.499), (4.87, 5.06, 5.12), (47, 117, 281), (1.637, 1.643, 1.644)),
}


@pytest.mark.parametrize("alpha", POWER_LAW)
@pytest.mark.parametrize("column", range(3))
def test_power_law(alpha: float, column: int) -> None:
    values = np.arange(1, (128, 512, 2048)[column] + 1) ** -alpha
    got = (
        values.sum() ** 2 / (values**2).sum(),
        spectrum.spectral_entropy_rank(values),
        spectrum.effective_rank(values),
        spectrum.stable_rank(values),
    )
    for found, row in zip(got, POWER_LAW[alpha], strict=True):
        np.testing.assert_allclose(found, row[column], rtol=5e-3)


# -- in the limit --------------------------------------------------------------------------------------------

LIMITS: dict[str, tuple[Callable[[Rows], Rows], float]] = {
    "relu": (lambda z: np.maximum(z, 0), 1 / np.pi),
    "absolute value": (np.abs, 2 / np.pi),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), 0.852),
    "gelu": (lambda z: torch.nn.functional.gelu(torch.from_numpy(z)).numpy(), 0.187),
    "sigmoid of a tenth": (lambda z: 1 / (1 + np.exp(-0.1 * z)), 0.9975),
    "softmax": (lambda z: np.exp(z) / np.exp(z).sum(1, keepdims=True), 0.383),
    "tanh": (np.tanh, 0.0),
}


@pytest.mark.parametrize("case", LIMITS)
def test_mean_cosine_in_the_limit(case: str) -> None:
    function, want = LIMITS[case]
    unit = unit_moments(function(np.random.default_rng(1).standard_normal((1500, 512))))
    tolerance = 4 * cosine.mean_cosine_standard_error(unit) + (
        0 if case in ("relu", "absolute value", "tanh") else 6e-4
    )
    assert abs(cosine.mean_cosine(unit) - want) < tolerance + 2e-4  # D = 512 is not the limit yet


def test_mean_cosine_of_uniform_rows() -> None:
    unit = unit_moments(np.random.default_rng(1).uniform(0, 1, (1500, 512)))
    np.testing.assert_allclose(cosine.mean_cosine(unit), 3 / 4, atol=2e-3)


@pytest.mark.parametrize("rank", [2, 5, 20])
def test_rank_of_low_rank_rows(rank: int) -> None:
    random = np.random.default_rng(rank)
    basis = np.linalg.qr(random.standard_normal((100, rank)))[0].T
    got = numbers(random.standard_normal((4000, rank)) @ basis)
    np.testing.assert_allclose(got["PR"], rank, rtol=0.02)
    assert got["RankMe"] <= rank * (1 + 1e-3)  # its ε


def test_std_ratio_of_two_poles_along_a_gaussian_direction() -> None:
    signs = np.tile([1.0, -1.0], 500)[:, None]
    ratios = [numbers(signs * np.random.default_rng(seed).standard_normal((1, 256)))["std ratio"] for seed in range(20)]
    np.testing.assert_allclose(np.mean(ratios), (2 / np.pi) ** 0.5, rtol=0.02)


# -- other libraries -----------------------------------------------------------------------------------------


def test_a_thousand_gaussian_rows_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    got = moments_of(torch.randn(1000, 1024, generator=generator).numpy())
    np.testing.assert_allclose(spectrum.spectral_entropy_rank(spectrum.eigenvalues(got)), 613.0542, rtol=1e-6)
    np.testing.assert_allclose(spectrum.rankme(got), 814.3570, rtol=1e-6)  # 814.3885 with 24 values of 0 + ε more


# -- isotropic rows ------------------------------------------------------------------------------------------

NULLS = {  # n, D: erankσ, erankλ, PR naive, stable rank
    (128, 64): (59.2, 49.7, 42.6, 22.0),
    (256, 512): (236.2, 198.8, 170.2, 87.8),
    (512, 512): (411.8, 310.2, 255.7, 128.0),
    (1000, 512): (473.0, 396.3, 338.5, 174.0),
    (4000, 256): (253.9, 247.9, 240.6, 163.1),
    (8000, 2048): (1977.0, 1801.9, 1630.5, 903.0),
    (10000, 768): (760.5, 739.1, 713.2, 470.9),
    (25600, 2048): (2027.0, 1967.7, 1896.3, 1244.5),
}


@pytest.mark.parametrize("shape", NULLS)
def test_null_table(shape: tuple[int, int]) -> None:
    got = (
        nulls.effective_rank(*shape),
        nulls.spectral_entropy_rank(*shape),
        nulls.participation_ratio_naive(*shape),
        nulls.stable_rank(*shape),
    )
    np.testing.assert_allclose(got, NULLS[shape], atol=0.06)


@pytest.mark.parametrize("shape", [(128, 64), (256, 512), (512, 512), (1000, 512), (2000, 32)])
def test_nulls_are_what_isotropic_rows_show(shape: tuple[int, int]) -> None:
    n, d = shape
    got = numbers(np.random.default_rng(n).standard_normal(shape))
    for name, null, tolerance in (
        ("erankσ", nulls.effective_rank(n, d), 0.01),
        ("erankλ", nulls.spectral_entropy_rank(n, d), 0.02),
        ("PR naive", nulls.participation_ratio_naive(n, d), 0.02),
        ("PR", d, 0.05),
        ("PR unit", d, 0.05),
        ("RankMe", nulls.effective_rank(n, d, centred=False), 0.01),
        ("stable rank", nulls.stable_rank(n, d), 0.06),
        ("cos std", nulls.cosine_std(d), 0.03),
        ("r", (n / (n + 1)) ** 0.5, 0.002),
        ("std ratio", 1, 0.02),
    ):
        np.testing.assert_allclose(got[name], null, rtol=tolerance, err_msg=name)
    assert abs(got["cos"]) < 4 * nulls.mean_cosine_deviation(n, d)
