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
    assert jackknife.standard_error(left_out) == pytest.approx(want, rel=1e-12)
    assert jackknife.half_width(left_out) == pytest.approx(2.131 * want, rel=1e-3)


def test_quantiles_are_those_of_student() -> None:
    np.testing.assert_allclose(jackknife.T_QUANTILES, stats.t.ppf(0.975, np.arange(1, 31)), atol=6e-4)


@pytest.mark.parametrize("left_out", [[], [1.0], [1.0, math.nan], [1.0, math.inf, 2.0]])
def test_unknown_without_two_finite_values(left_out: list[float]) -> None:
    assert math.isnan(jackknife.standard_error(left_out)) and math.isnan(jackknife.half_width(left_out))


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (3, 10), (50, 100), (1, 1)])
def test_wilson_agrees_with_scipy(successes: int, trials: int) -> None:
    want = stats.binomtest(successes, trials).proportion_ci(0.95, "wilson")
    np.testing.assert_allclose(jackknife.wilson(successes, trials), (want.low, want.high), atol=1e-4)


def test_wilson_without_trials_is_unknown() -> None:
    assert all(math.isnan(end) for end in jackknife.wilson(0, 0))
