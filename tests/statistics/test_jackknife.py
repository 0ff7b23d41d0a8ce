from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from collapsecheck.statistics import jackknife


def test_standard_error_of_a_mean_of_equal_blocks_is_the_textbook_one() -> None:
    rows = np.random.default_rng(0).standard_normal((16, 10))
    left_out = [np.delete(rows, b, 0).mean() for b in range(16)]
    want = rows.mean(1).std(ddof=1) / math.sqrt(16)
    given = rows.mean(), left_out, [10] * 16
    assert jackknife.standard_error(*given) == pytest.approx(want, rel=1e-12)
    assert jackknife.half_width(*given) == pytest.approx(2.131 * want, rel=1e-3)


def test_blocks_of_unequal_size_follow_the_published_formula() -> None:
    random = np.random.default_rng(0)
    sizes = random.integers(1, 30, 16)
    blocks = np.split(random.standard_normal(sizes.sum()), np.cumsum(sizes)[:-1])
    whole = np.concatenate(blocks).var()
    left_out = [np.concatenate(blocks[:b] + blocks[b + 1 :]).var() for b in range(16)]
    h = sizes.sum() / sizes
    centre = 16 * whole - sum((1 - 1 / h) * left_out)
    pseudo = h * whole - (h - 1) * left_out
    want = math.sqrt(np.mean((pseudo - centre) ** 2 / (h - 1)))
    assert jackknife.standard_error(whole, left_out, sizes.tolist()) == pytest.approx(want, rel=1e-9)


def test_growth_with_the_number_of_rows_is_not_taken_for_scatter() -> None:
    sizes = [1, 2, 3, 4, 5, 6]
    grown = [3.0 * (21 - m) for m in sizes]  # a rank that every row adds to
    shrunk = [2.0 + 5.0 / (21 - m) for m in sizes]  # a bias that falls with 1/n
    assert jackknife.standard_error(63.0, grown, sizes) < 4
    assert jackknife.standard_error(2 + 5 / 21, shrunk, sizes) == pytest.approx(0, abs=1e-12)


def test_quantiles_are_those_of_student() -> None:
    np.testing.assert_allclose(jackknife.T_QUANTILES, stats.t.ppf(0.975, np.arange(1, 31)), atol=6e-4)


@pytest.mark.parametrize("left_out", [[], [1.0], [1.0, math.nan], [1.0, math.inf, 2.0]])
def test_unknown_without_two_finite_values(left_out: list[float]) -> None:
    given = 1.0, left_out, [5] * len(left_out)
    assert math.isnan(jackknife.standard_error(*given)) and math.isnan(jackknife.half_width(*given))


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (3, 10), (50, 100), (1, 1)])
def test_wilson_agrees_with_scipy(successes: int, trials: int) -> None:
    want = stats.binomtest(successes, trials).proportion_ci(0.95, "wilson")
    np.testing.assert_allclose(jackknife.wilson(successes, trials), (want.low, want.high), atol=1e-4)


def test_an_unknown_whole_has_no_error() -> None:
    assert math.isnan(jackknife.standard_error(math.nan, [1.0, 2.0], [3, 3]))


def test_wilson_without_trials_is_unknown() -> None:
    assert all(math.isnan(end) for end in jackknife.wilson(0, 0))


@pytest.mark.parametrize("count", [2, 3, 8])
def test_the_interval_of_a_mean_covers_it(count: int) -> None:
    """Student's t holds for few values too: 95 % of 4000 intervals hold the mean, to sampling error."""
    values = np.random.default_rng(0).standard_normal((4000, count)) + 3
    held = [low <= 3 <= high for low, high in map(jackknife.mean_interval, values.tolist())]
    assert 0.94 < np.mean(held) < 0.96


def test_one_value_has_no_interval() -> None:
    assert all(map(math.isnan, jackknife.mean_interval([1.0])))
