from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapsecheck.statistics import cosine, spectrum
from collapsecheck.statistics.moments import Moments, moments_of

from . import slow
from .clouds import CLOUDS, gaussian

EACH_CLOUD = pytest.mark.parametrize("name", CLOUDS)


def streamed(rows: np.ndarray, sizes: list[int]) -> Moments:
    """Sums over batches of the given sizes, about the mean of the first."""
    moments = Moments.about(rows[: sizes[0]].mean(0))
    for part in np.split(rows, np.cumsum(sizes)[:-1]):
        moments.add(part)
    return moments


def participation_condition(moments: Moments) -> float:
    """How many times larger than the unbiased tr Σ² the terms are whose difference it is (large with an outlier)."""
    n, T, F = moments.n, moments.total_variance, float((moments.covariance**2).sum())
    Q = moments.moved_to(moments.mean).q2 / (n - 1)
    return ((n - 1) * (n - 2) * F + T**2 + n * Q) / abs((n - 1) * (n - 2) * F + T**2 - n * Q)


def same(a: Moments, b: Moments, rtol: float = 1e-12) -> None:
    """Equal in every read-out, entries of matrices relative to the largest."""
    assert a.n == b.n
    np.testing.assert_allclose(a.total_variance, b.total_variance, rtol=rtol)
    scale = np.sqrt(a.total_variance)
    np.testing.assert_allclose(a.mean, b.mean, rtol=rtol, atol=1e-12 * scale)
    np.testing.assert_allclose(a.covariance, b.covariance, rtol=rtol, atol=rtol * a.total_variance)
    condition = participation_condition(a)
    np.testing.assert_allclose(
        spectrum.participation_ratio(a), spectrum.participation_ratio(b), rtol=max(rtol, 1e-14 * condition)
    )
    np.testing.assert_allclose(cosine.cosine_std(a), cosine.cosine_std(b), rtol=rtol)


@EACH_CLOUD
def test_read_outs_equal_the_definitions(name: str) -> None:
    rows = CLOUDS[name]()
    moments = streamed(np.asarray(rows, np.float64), [7, len(rows) - 7])
    T = slow.total_variance(rows)
    np.testing.assert_allclose(moments.mean, slow.long(rows).mean(0).astype(float), rtol=1e-14, atol=1e-14 * T**0.5)
    np.testing.assert_allclose(moments.total_variance, T, rtol=1e-13)
    np.testing.assert_allclose(moments.deviation, T * (len(rows) - 1), rtol=1e-13)
    np.testing.assert_allclose(moments.variances, slow.variances(rows), rtol=1e-12)
    np.testing.assert_allclose(moments.covariance, slow.covariance(rows).astype(float), rtol=1e-12, atol=1e-13 * T)
    second = slow.long(rows).T @ slow.long(rows)
    np.testing.assert_allclose(moments.raw_second_moment, second.astype(float), atol=1e-13 * float(np.trace(second)))


@given(
    st.sampled_from(sorted(CLOUDS)),
    st.lists(st.integers(1, 20), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_any_order_and_any_batches_give_the_same_sums(name: str, sizes: list[int], random: object) -> None:
    rows = np.asarray(CLOUDS[name](), np.float64)
    sizes = [*sizes, len(rows)]
    order = np.random.default_rng(random.randint(0, 99)).permutation(len(rows))  # type: ignore[attr-defined]
    cuts = np.minimum(np.cumsum(sizes), len(rows))
    parts = [part for part in np.split(rows[order], cuts[:-1]) if len(part)]
    merged = moments_of(parts[0])
    for part in parts[1:]:
        merged = merged.plus(moments_of(part))
    same(moments_of(rows), merged)
    same(moments_of(rows), streamed(rows[order], [len(part) for part in parts]))


def test_empty_sums_are_the_identity_of_plus() -> None:
    moments = moments_of(gaussian())
    empty = Moments.about(np.full(12, 1e9))
    for total in (moments.plus(empty), empty.plus(moments)):
        same(total, moments, rtol=0)


def test_minus_undoes_plus() -> None:
    rows = gaussian() + 1e3
    same(moments_of(rows).minus(moments_of(rows[:20])), moments_of(rows[20:]), rtol=1e-11)


def test_moving_the_pivot_changes_nothing() -> None:
    moments = moments_of(gaussian())
    same(moments.moved_to(moments.pivot + gaussian(1, 12, 3)[0]), moments)


def test_adding_to_a_merged_sum_leaves_its_parts_alone() -> None:
    moments = moments_of(gaussian())
    before = moments.G.copy()
    moments.plus(Moments.about(moments.pivot)).on_host().add(gaussian())
    np.testing.assert_array_equal(moments.G, before)


@pytest.mark.parametrize("first", [np.zeros((16, 8)), 10 * np.ones((1, 8)), 500 + 1e-3 * gaussian(16, 8)])
def test_a_pivot_far_from_the_rows_is_given_up(first: np.ndarray) -> None:
    rows = np.concatenate([first, 1 + 1e-2 * gaussian(5000, 8)])
    moments = streamed(rows, [len(first)] + [8] * 625)
    # A single row a thousand deviations away: what is left of 16 digits depends on the order of a product's sums.
    np.testing.assert_allclose(spectrum.participation_ratio(moments), slow.participation_ratio(rows), rtol=1e-9)
    assert np.abs(moments.pivot - first[0]).max() > 1e-3


def test_without_the_pivot_the_fourth_powers_would_drown() -> None:
    """The table of what pivot 0 does to the participation ratio: why there is a pivot at all."""
    rows = 1 + 1e-4 * gaussian(500, 16)
    careless = Moments.about(np.zeros(16))
    careless.q1, careless.settled = 0.0, 10**9  # never re-centred
    careless.add(rows)
    want = slow.participation_ratio(rows)
    assert abs(spectrum.participation_ratio(careless) / want - 1) > 1e-4
    np.testing.assert_allclose(spectrum.participation_ratio(moments_of(rows)), want, rtol=1e-11)


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_rows_have_no_variance(n: int) -> None:
    moments = moments_of(gaussian(n, 3))
    assert np.isnan(moments.total_variance) and np.isnan(moments.variances).all()
    assert np.isnan(moments.covariance).all() and np.isnan(moments.mean).all() == (n == 0)
    assert np.isnan(moments.deviation) == (n == 0)


@pytest.mark.parametrize("scale", [0.0, 0.1, 1e-30, 1e30])
@pytest.mark.parametrize("n", [2, 3, 50, 1000])
def test_equal_rows_have_no_variance_at_all(scale: float, n: int) -> None:
    rows = np.full((n, 1), scale) * gaussian(1, 33)
    moments = streamed(rows, [1, n - 1])
    assert moments.total_variance == 0 and not moments.variances.any()


@pytest.mark.parametrize("d", [3, 33, 700])
def test_equal_directions_have_no_variance_at_all(d: int) -> None:
    rows = np.random.default_rng(0).uniform(0.1, 100, (500, 1)) * gaussian(1, d)
    unit = rows * (1 / np.sqrt((rows**2).sum(1)))[:, None]
    assert moments_of(unit).total_variance == 0


def test_sums_kept_without_products_say_so() -> None:
    moments = moments_of(gaussian(), second_order=False)
    np.testing.assert_allclose(moments.total_variance, slow.total_variance(gaussian()), rtol=1e-13)
    for name in ("covariance", "variances", "raw_second_moment"):
        with pytest.raises(ValueError, match="without second-order products"):
            getattr(moments, name)
    assert np.isnan(spectrum.participation_ratio(moments))
    assert np.isnan(cosine.cosine_std(moments)) and np.isnan(cosine.mean_cosine_standard_error(moments))
    assert np.isnan(moments.moved_to(moments.pivot + 1).q2)


@EACH_CLOUD
def test_tensors_give_the_same_sums(name: str) -> None:
    rows = np.asarray(CLOUDS[name](), np.float64)
    tensors = torch.from_numpy(rows)
    moments = Moments.about(tensors[:5].mean(0))
    moments.add(tensors[:5])
    moments.add(tensors[5:])
    moments.add(tensors[:0])
    same(moments.on_host(), moments_of(rows))
    same(moments.plus(Moments.about(tensors[0])).minus(Moments.about(tensors[1])).on_host(), moments_of(rows))
