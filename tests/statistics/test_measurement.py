from __future__ import annotations

import math

import pytest

from collapsecheck.statistics.measurement import Measurement, around


def test_without_an_interval_the_value_is_exact() -> None:
    exact = Measurement(value=2.0)
    assert exact.known and (exact.low, exact.high) == (2, 2)
    assert exact.below(2.1) and not exact.below(2.0) and exact.above(1.9) and not exact.above(2.0)
    assert not exact.straddles(2.0) and math.isnan(exact.share)


def test_a_bound_must_lie_beyond_the_whole_interval() -> None:
    measured = Measurement(value=2.0, interval=(1.0, 3.0), null=4.0)
    assert measured.share == 0.5
    assert measured.below(3.1) and not measured.below(3.0) and not measured.below(2.5)
    assert measured.above(0.9) and not measured.above(1.0)
    assert measured.straddles(1.0) and measured.straddles(3.0) and not measured.straddles(3.1)


def test_an_interval_that_misses_its_value_does_not_decide_alone() -> None:
    odd = Measurement(value=2.0, interval=(0.0, 1.0))
    assert not odd.below(1.5)


def test_unknown_values_are_nowhere() -> None:
    unknown = Measurement(value=math.nan, null=0.0)
    assert not unknown.known and math.isnan(unknown.share)
    assert not unknown.below(1) and not unknown.above(1) and not unknown.straddles(1)


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ((0.5, 0.2), (0.3, 0.7)),
        ((0.5, 0.7, 0.0, 1.0), (0.0, 1.0)),
        ((math.nan, 0.1), None),
        ((0.5, math.nan), None),
        ((0.5, math.inf), None),
    ],
)
def test_around(given: tuple[float, ...], want: tuple[float, float] | None) -> None:
    assert around(*given) == (want if want is None else pytest.approx(want))
