from __future__ import annotations

import numpy as np
import pytest

from collapsecheck.statistics import cosine
from collapsecheck.statistics.moments import Moments, moments_of

from . import slow
from .clouds import CLOUDS, gaussian

EACH_CLOUD = pytest.mark.parametrize("name", CLOUDS)


def unit_moments(rows: np.ndarray) -> Moments:
    return moments_of(slow.unit(rows).astype(np.float64))


@EACH_CLOUD
@pytest.mark.parametrize(
    "function",
    [cosine.mean_cosine, cosine.mean_cosine_gap, cosine.cosine_std, cosine.mean_cosine_standard_error],
    ids=lambda function: function.__name__,
)
def test_equals_the_average_over_all_pairs(name: str, function: object) -> None:
    rows = CLOUDS[name]()
    want = getattr(slow, function.__name__)(rows)  # type: ignore[attr-defined]
    np.testing.assert_allclose(function(unit_moments(rows)), want, rtol=1e-9)  # type: ignore[operator]


@EACH_CLOUD
def test_shares_of_the_dimensions_equal_the_definition_and_add_up(name: str) -> None:
    rows = CLOUDS[name]()
    shares = cosine.cosine_share_by_dimension(unit_moments(rows))
    np.testing.assert_allclose(shares, slow.cosine_share_by_dimension(rows), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(shares.sum(), slow.mean_cosine(rows), rtol=1e-9)


def test_equal_rows_have_cosine_one_exactly() -> None:
    unit = unit_moments(np.full((100, 7), 0.1))
    assert cosine.mean_cosine(unit) == 1 and cosine.mean_cosine_gap(unit) == 0 == cosine.cosine_std(unit)


def test_cosines_that_are_all_equal_have_no_deviation() -> None:
    """The square root of a rounding error: the absolute error of the deviation is about 1e-8."""
    assert cosine.cosine_std(unit_moments(np.eye(10))) == 0


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_too_few_rows_are_undefined(n: int) -> None:
    unit = moments_of(gaussian(n, 5)) if n < 2 else unit_moments(gaussian(n, 5))
    for function in (cosine.mean_cosine, cosine.mean_cosine_gap, cosine.cosine_std):
        assert np.isnan(function(unit)) == (n < 2)
    assert np.isnan(cosine.cosine_share_by_dimension(unit)).all() == (n < 2)
    assert np.isnan(cosine.mean_cosine_standard_error(unit)) == (n < 3)


def test_standard_error_holds_at_a_mean_cosine_of_zero() -> None:
    """Where the first term vanishes the exact value is √2/(n√D)."""
    errors = [cosine.mean_cosine_standard_error(unit_moments(gaussian(64, 32, seed))) for seed in range(20)]
    np.testing.assert_allclose(np.median(errors), 2**0.5 / (64 * 32**0.5), rtol=0.15)
