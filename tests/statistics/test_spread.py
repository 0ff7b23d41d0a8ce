from __future__ import annotations

import numpy as np
import pytest

from collapsecheck.statistics import spread
from collapsecheck.statistics.moments import moments_of

from . import slow
from .clouds import CLOUDS, gaussian

EACH_CLOUD = pytest.mark.parametrize("name", CLOUDS)


@EACH_CLOUD
def test_relative_spread_equals_the_definition(name: str) -> None:
    rows = CLOUDS[name]()
    np.testing.assert_allclose(spread.relative_spread(moments_of(rows)), slow.relative_spread(rows), rtol=1e-12)


@EACH_CLOUD
@pytest.mark.parametrize("function", [spread.std_ratio, spread.evenness], ids=lambda function: function.__name__)
def test_deviations_of_unit_rows_equal_the_definition(name: str, function: object) -> None:
    rows = CLOUDS[name]()
    unit = moments_of(slow.unit(rows).astype(np.float64))
    want = getattr(slow, function.__name__)(rows)  # type: ignore[attr-defined]
    np.testing.assert_allclose(function(unit), want, rtol=1e-9)  # type: ignore[operator]


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_equal_rows_have_no_spread(value: float) -> None:
    moments = moments_of(np.full((9, 5), value))
    assert spread.relative_spread(moments) == 0 == spread.std_ratio(moments)
    assert np.isnan(spread.evenness(moments))


@pytest.mark.parametrize("function", [spread.relative_spread, spread.std_ratio, spread.evenness])
@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_are_undefined(function: object, n: int) -> None:
    assert np.isnan(function(moments_of(gaussian(n, 4))))  # type: ignore[operator]


def test_a_share_of_live_dimensions_gives_its_root() -> None:
    rows = gaussian(4000, 64)
    rows[:, 16:] = 0
    np.testing.assert_allclose(spread.evenness(moments_of(rows)), 0.25**0.5, rtol=0.01)


@pytest.mark.parametrize(
    ("dtype", "floor", "dither"),
    [("bfloat16", 1.6e-3, 4.8e-3), ("float16", 2.0e-4, 6.0e-4), ("float32", 2.5e-8, 7.3e-8)],
)
def test_rounding_floor_equals_the_table(dtype: str, floor: float, dither: float) -> None:
    np.testing.assert_allclose(spread.rounding_floor(dtype), floor, rtol=0.03)
    eps = spread.EPSILON[dtype]
    random = np.random.default_rng(0)
    vector = np.exp2(random.uniform(0, 1, 512))
    dithered = vector + eps * random.integers(-1, 2, (500, 512))
    np.testing.assert_allclose(spread.relative_spread(moments_of(dithered)), dither, rtol=0.2)
