from __future__ import annotations

import numpy as np
import pytest

from collapsecheck.statistics import spectrum
from collapsecheck.statistics.moments import moments_of
from collapsecheck.statistics.neighbours import unit_rows

from . import slow
from .clouds import CLOUDS, gaussian

EACH_CLOUD = pytest.mark.parametrize("name", CLOUDS)

OF_EIGENVALUES = (
    spectrum.effective_rank,
    spectrum.spectral_entropy_rank,
    spectrum.stable_rank,
    spectrum.top_direction_share,
    spectrum.dimensions_for_99,
    spectrum.live_directions,
)
OF_MOMENTS = (spectrum.participation_ratio, spectrum.participation_ratio_naive, spectrum.rankme)


def by_name(function: object) -> str:
    return function.__name__  # type: ignore[attr-defined,no-any-return]


@EACH_CLOUD
@pytest.mark.parametrize("function", OF_EIGENVALUES, ids=by_name)
def test_equals_the_singular_values_of_the_centred_rows(name: str, function: object) -> None:
    rows = CLOUDS[name]()
    want = getattr(slow, by_name(function))(rows)
    np.testing.assert_allclose(function(spectrum.eigenvalues(moments_of(rows))), want, rtol=1e-9)  # type: ignore[operator]


@EACH_CLOUD
@pytest.mark.parametrize("function", OF_MOMENTS, ids=by_name)
def test_equals_the_definition(name: str, function: object) -> None:
    rows = CLOUDS[name]()
    np.testing.assert_allclose(function(moments_of(rows)), getattr(slow, by_name(function))(rows), rtol=1e-9)  # type: ignore[operator]


@EACH_CLOUD
@pytest.mark.parametrize("n", [4, 5, 9, 16])
def test_participation_ratio_equals_the_average_over_all_quadruples(name: str, n: int) -> None:
    rows = CLOUDS[name]()[1 : n + 1]
    of_square, square_of = slow.traces_over_quadruples(rows)
    if of_square <= 1e-12 * square_of:  # fewer than four distinct rows
        assert not spectrum.participation_ratio(moments_of(rows)) > 0
    else:
        np.testing.assert_allclose(spectrum.participation_ratio(moments_of(rows)), square_of / of_square, rtol=1e-9)


@EACH_CLOUD
def test_the_two_slow_participation_ratios_agree(name: str) -> None:
    """Beyond 16 rows the quadruples are summed up by hand: that the sum is right is seen at 16."""
    rows = CLOUDS[name]()[:17]
    by_hand = slow.participation_ratio(rows)
    of_square, square_of = slow.traces_over_quadruples(rows)
    np.testing.assert_allclose(by_hand, square_of / of_square, rtol=1e-9)


@pytest.mark.parametrize("shape", [(2, 3), (12, 40), (40, 12), (60, 200)])
@pytest.mark.parametrize("shift", [0.0, 1.0, 1e6])
def test_the_rows_themselves_give_the_same_eigenvalues(shape: tuple[int, int], shift: float) -> None:
    rows = gaussian(*shape, alpha=1.0) + shift
    got, want = spectrum.eigenvalues_of_rows(rows), slow.singular_values(rows) ** 2 / (len(rows) - 1)
    np.testing.assert_allclose(got[: len(want)], want, rtol=1e-9, atol=1e-13 * want[0])
    assert not got[len(want) :].any()
    np.testing.assert_allclose(spectrum.rankme(moments_of(rows), held=rows), slow.rankme(rows), rtol=1e-9)


@pytest.mark.parametrize("spread", [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7])
@pytest.mark.parametrize(
    "shape",
    [(60, 12, 12), (12, 40, 40), (60, 12, 2), (30, 40, 2), (5000, 8, 8)],
    ids=lambda shape: "x".join(map(str, shape)),
)
def test_unit_rows_of_a_narrow_cone(shape: tuple[int, int, int], spread: float) -> None:
    """Their deviation along the mean, the square of the spread, counts too: √(1e-14) of σ is 1e-7 of the rank."""
    n, d, rank = shape
    rows = gaussian(1, d, 9) + spread * gaussian(n, rank) @ gaussian(rank, d, 3)
    unit = unit_rows(rows)
    want = slow.singular_values(slow.unit(rows)) ** 2 / (n - 1)
    found = [spectrum.unit_eigenvalues(moments_of(unit))]
    if n <= 60:
        found.append(spectrum.unit_eigenvalues_of_rows(unit))
    for got in found:
        live = want[: min(n - 1, d, rank + 1)]
        # the last one is known to the rounding of the unit rows, eps / spread of itself
        np.testing.assert_allclose(got[: len(live) - 1], live[:-1], rtol=1e-9)
        np.testing.assert_allclose(
            got[len(live) - 1], live[-1], rtol=max(1e-9, 1e-8 * 1e-7 / spread), atol=1e-13 * live[-2]
        )
        np.testing.assert_allclose(spectrum.effective_rank(got), spectrum.effective_rank(live), rtol=1e-9)


@pytest.mark.parametrize("scale", [0.0, 1e-15])
def test_unit_rows_that_are_equal_but_for_rounding_have_no_eigenvalues(scale: float) -> None:
    unit = unit_rows(np.linspace(1, 9, 30)[:, None] * gaussian(1, 70) * (1 + scale * gaussian(30, 70)))
    for rows in (unit_rows(unit[:, :5]), unit):
        if scale == 0:
            assert not spectrum.unit_eigenvalues(moments_of(rows)).any()
            assert not spectrum.unit_eigenvalues_of_rows(rows).any()
        else:  # noise of the last bit: any rank, but no warning and no number that is not finite
            assert np.isfinite(spectrum.unit_eigenvalues(moments_of(rows))).all()
            assert np.isfinite(spectrum.unit_eigenvalues_of_rows(rows)).all()


def test_equal_rows_themselves_have_no_eigenvalues() -> None:
    unit = np.linspace(1, 9, 30)[:, None] * gaussian(1, 70)
    unit *= (1 / np.sqrt((unit**2).sum(1)))[:, None]
    for rows in (np.zeros((30, 70)), np.full((30, 70), 0.1), unit):
        assert not spectrum.eigenvalues_of_rows(rows).any()
    assert (
        len(spectrum.eigenvalues_of_rows(np.zeros((0, 3)))) == len(spectrum.eigenvalues_of_rows(np.ones((1, 3)))) == 0
    )


def test_eigenvalues_that_are_rounding_count_as_none() -> None:
    rows = gaussian(500, 3) @ gaussian(3, 40, 1)
    values = spectrum.eigenvalues(moments_of(rows))
    assert len(values) == 40 and (values > 0).sum() == 3


def test_a_spectrum_below_the_root_of_rounding_is_not_seen() -> None:
    """The covariance holds squares: directions with σ below about 1e-7 of the whole cannot be told from none.

    That is the price of one pass and O(D²) memory; where it matters, ranks are good to 1e-6 and not to 1e-9.
    """
    rows = gaussian(200, 10) * np.logspace(0, -12, 10)
    got = spectrum.effective_rank(spectrum.eigenvalues(moments_of(rows)))
    np.testing.assert_allclose(got, slow.effective_rank(rows), rtol=1e-6)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_rankme_of_wide_rows_goes_by_the_second_moment(shift: float) -> None:
    rows = gaussian(300, spectrum.SVD_LIMIT + 6) + shift
    np.testing.assert_allclose(spectrum.rankme(moments_of(rows)), slow.rankme(rows), rtol=1e-9)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_are_undefined(n: int) -> None:
    moments = moments_of(gaussian(n, 4))
    values = spectrum.eigenvalues(moments)
    assert len(values) == 0
    for function in OF_EIGENVALUES:
        assert np.isnan(function(values))
    assert np.isnan(spectrum.participation_ratio(moments)) and np.isnan(spectrum.participation_ratio_naive(moments))
    assert np.isnan(spectrum.rankme(moments)) == (n == 0)


@pytest.mark.parametrize("n", [2, 3])
def test_the_unbiased_participation_ratio_needs_four_rows(n: int) -> None:
    assert np.isnan(spectrum.participation_ratio(moments_of(gaussian(n, 4))))


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
@pytest.mark.parametrize("n", [2, 7, 100])
def test_equal_rows_have_no_rank(value: float, n: int) -> None:
    moments = moments_of(np.full((n, 6), value))
    for function in OF_EIGENVALUES:
        assert np.isnan(function(spectrum.eigenvalues(moments)))
    assert np.isnan(spectrum.participation_ratio(moments)) and np.isnan(spectrum.participation_ratio_naive(moments))
    if value:
        np.testing.assert_allclose(spectrum.rankme(moments), 1, atol=2e-5)  # its ε
    else:
        assert np.isnan(spectrum.rankme(moments))


def test_ranks_do_not_pass_the_number_of_rows() -> None:
    values = spectrum.eigenvalues(moments_of(gaussian(5, 40)))
    assert len(values) == 4 and spectrum.effective_rank(values) <= 4 == spectrum.dimensions_for_99(values)
