from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collapsecheck.observe import EmbeddingSummary, Observations, observe_arrays
from collapsecheck.observe.cloud import streaming_measurements
from collapsecheck.observe.summary import LISTED_ROWS, NORM_ROWS, SAMPLE_ROWS

from ..statistics import slow
from ..statistics.clouds import CLOUDS, gaussian

SECOND_DEVICE = next(
    (name for name, there in (("cuda", torch.cuda.is_available()),) if there),
    None,  # MPS has no float64: rows come to the host there
)

Numbers = dict[str, float]


def summary_of(
    rows: Any, indices: np.ndarray | None = None, labels: np.ndarray | None = None, batch: int = 1000
) -> EmbeddingSummary:
    summary = EmbeddingSummary(rows.shape[1])
    indices = np.arange(len(rows)) if indices is None else indices
    for start in range(0, len(rows), batch):
        part = slice(start, start + batch)
        summary.update(rows[part], indices[part], None if labels is None else labels[part])
    return summary


def numbers(summary: EmbeddingSummary) -> Numbers:
    return {name: found.value for name, found in Observations(embeddings=summary).measurements.items()}


def same(a: EmbeddingSummary, b: EmbeddingSummary, rtol: float = 1e-12) -> None:
    """Every number, interval and kept row is the same."""
    first, second = Observations(embeddings=a), Observations(embeddings=b)
    assert first.measurements.keys() == second.measurements.keys()
    for name, found in first.measurements.items():
        other = second.measurements[name]
        np.testing.assert_allclose(found.value, other.value, rtol=rtol, atol=1e-15, err_msg=name)
        assert (found.interval is None) == (other.interval is None), name
        if found.interval and other.interval:
            width = abs(found.interval[1] - found.interval[0])
            np.testing.assert_allclose(
                found.interval, other.interval, rtol=1e-9, atol=1e-6 * width + 1e-14, err_msg=name
            )
    assert (a.rows, a.zero_rows, a.non_finite, a.non_finite_rows) == (
        b.rows,
        b.zero_rows,
        b.non_finite,
        b.non_finite_rows,
    )
    assert a.dtype == b.dtype
    for mine, theirs in ((a.minimum, b.minimum), (a.maximum, b.maximum)):
        np.testing.assert_array_equal(mine, theirs)
    assert a.sample.columns.keys() == b.sample.columns.keys()
    for column in a.sample.columns:
        np.testing.assert_array_equal(a.sample[column], b.sample[column])


def messy(n: int = 150, d: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows with NaN, Inf, zero rows and duplicates, and their labels, some of them unknown."""
    rows = gaussian(n, d, seed, alpha=0.7).astype(np.float32) + np.float32(0.5)
    rows[::13] = 0
    rows[5::17, 0] = np.nan
    rows[7::31, 1] = -np.inf
    rows[100:120] = rows[0:20]
    return rows, np.arange(n) % 4 - 1


@settings(deadline=None, max_examples=40)
@given(
    cuts=st.lists(st.integers(0, 150), max_size=5),
    batch=st.integers(1, 80),
    seed=st.integers(0, 1000),
    labelled=st.booleans(),
)
def test_shards_order_and_batches_do_not_matter(cuts: list[int], batch: int, seed: int, labelled: bool) -> None:
    rows, labels = messy()
    order = np.random.default_rng(seed).permutation(len(rows))
    merged = EmbeddingSummary(rows.shape[1])
    for shard in np.split(order, sorted(cuts)):
        merged.merge(summary_of(rows[shard], shard, labels[shard] if labelled else None, batch))
    same(summary_of(rows, None, labels if labelled else None), merged)


@pytest.mark.parametrize("name", CLOUDS)
def test_shards_of_difficult_rows(name: str) -> None:
    """To 1e-12, but where the number itself has a rounding of its own (see the tests of its definition)."""
    rows = CLOUDS[name]()
    order = np.random.default_rng(1).permutation(len(rows))
    merged = EmbeddingSummary(rows.shape[1])
    for shard in np.array_split(order, 4):
        merged.merge(summary_of(rows[shard], shard, batch=3))
    whole = numbers(summary_of(rows))
    for found, value in numbers(merged).items():
        tolerance = 1e-12
        if found == "participation_ratio" and name == "one far row":
            tolerance = 1e-9  # a difference of fourth powers of that row
        np.testing.assert_allclose(value, whole[found], rtol=tolerance, atol=1e-15, err_msg=found)


def test_an_empty_summary_is_the_identity() -> None:
    rows, labels = messy()
    for order in (0, 1):
        summaries = [EmbeddingSummary(6), summary_of(rows, None, labels)]
        summaries[1].dtype = "bfloat16"
        summaries[order].merge(summaries[1 - order])
        want = summary_of(rows, None, labels)
        want.dtype = "bfloat16"
        same(summaries[order], want, rtol=0)


def test_merging_leaves_the_other_one_alone() -> None:
    rows = gaussian(300, 5)
    mine, other = EmbeddingSummary(5), summary_of(rows[:100])
    before = numbers(other)
    mine.merge(other)
    mine.update(rows[100:], np.arange(100, 300))
    assert numbers(other) == before
    same(mine, summary_of(rows))


def test_the_coarser_dtype_remains() -> None:
    one, two = summary_of(gaussian(9, 3)), summary_of(gaussian(9, 3), np.arange(9, 18))
    one.dtype, two.dtype = "float16", "bfloat16"
    two.merge(one)
    assert two.dtype == "bfloat16"
    one.merge(two)
    assert one.dtype == "bfloat16"


def test_only_summaries_of_the_same_kind_merge() -> None:
    for other in (EmbeddingSummary(4), EmbeddingSummary(3, seed=1)):
        with pytest.raises(ValueError, match="cannot merge"):
            EmbeddingSummary(3).merge(other)


def test_rows_of_the_wrong_shape_are_refused() -> None:
    for rows in (gaussian(4, 4), gaussian(4, 3)[0]):
        with pytest.raises(ValueError, match=r"expected rows \[n, 3\]"):
            EmbeddingSummary(3).update(rows)


def test_rows_that_are_not_finite_are_counted_listed_and_left_out() -> None:
    rows, labels = messy()
    bad = np.flatnonzero(~np.isfinite(rows).all(1))
    summary = summary_of(rows, None, labels)
    good = np.setdiff1d(np.arange(len(rows)), bad)
    got, want = numbers(summary), numbers(summary_of(rows[good], good, labels[good]))
    assert summary.non_finite == got.pop("non_finite_rows") == len(bad) and summary.rows == len(good)
    assert summary.non_finite_rows == bad.tolist()
    assert want.pop("non_finite_rows") == 0
    assert got == pytest.approx(want, rel=1e-12, nan_ok=True)


def test_only_the_first_rows_that_are_not_finite_are_listed() -> None:
    rows = np.full((100, 2), np.nan)
    summary = summary_of(rows, np.arange(100)[::-1], batch=7)
    summary.flush()
    assert summary.non_finite == 100 and summary.non_finite_rows == list(range(LISTED_ROWS))
    assert numbers(summary) == {"rows": 0, "dimension": 2, "non_finite_rows": 100, "zero_rows": 0}


def test_values_too_large_for_fourth_powers_count_as_not_finite() -> None:
    rows = gaussian(20, 3)
    rows[4] *= 1e200
    rows[5] *= 1e70
    summary = summary_of(rows)
    assert numbers(summary)["non_finite_rows"] == 1 and summary.non_finite_rows == [4]


def test_rows_are_numbered_as_they_come() -> None:
    rows = gaussian(50, 3)
    summary = EmbeddingSummary(3)
    for part in np.array_split(rows, 7):
        summary.update(part)
    same(summary, summary_of(rows))


def test_what_is_kept_is_bounded_and_uniform() -> None:
    n = 70_000
    rows = np.arange(n, dtype=np.float64)[:, None] * np.ones((1, 2)) + 1
    summary = summary_of(rows, batch=10_000)
    summary.flush()
    assert len(summary.sample) == SAMPLE_ROWS and len(summary.norms) == NORM_ROWS
    np.testing.assert_allclose(summary.sample["index"].astype(float).mean(), n / 2, rtol=0.05)
    np.testing.assert_allclose(
        np.median(summary.norms["norms"].astype(float)), np.median(rows[:, 0]) * 2**0.5, rtol=0.02
    )
    assert numbers(summary)["distinct_rows"] == n


# -- tensors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLOUDS)
def test_tensors_give_the_same_numbers(name: str) -> None:
    rows = CLOUDS[name]()
    got, want = numbers(summary_of(torch.from_numpy(rows), batch=7)), numbers(summary_of(rows))
    for found, value in got.items():
        tolerance = 1e-12
        if "constant" in name or "shifted" in name:  # norms may differ in the last bit, which is 1e-9 of the spread
            tolerance = 1e-9
        if found == "participation_ratio" and name == "one far row":
            tolerance = 1e-9
        np.testing.assert_allclose(value, want[found], rtol=tolerance, atol=1e-15, err_msg=found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int8, torch.bool])
def test_tensors_of_every_dtype(dtype: torch.dtype) -> None:
    rows = 3 * torch.from_numpy(gaussian(100, 5))
    rows = rows > 0 if dtype is torch.bool else rows.to(dtype)
    exact = rows.double().numpy()
    got = numbers(summary_of(rows))
    for name in ("mean_cosine", "relative_spread", "effective_rank", "unit_participation_ratio", "cosine_std"):
        np.testing.assert_allclose(got[name], slow.MEASURED[name](exact), rtol=1e-9, err_msg=name)
    assert got["distinct_rows"] == slow.distinct_rows(exact)
    assert got["distinct_values_median"] == np.median(slow.distinct_values(exact))


def test_messy_tensors_merge_and_go_on() -> None:
    rows, labels = messy()
    tensors = torch.from_numpy(rows)
    index = np.arange(150)
    merged = summary_of(tensors[:50], index[:50], labels[:50], 20)
    merged.merge(summary_of(tensors[50:90], index[50:90], labels[50:90], 20))
    merged.update(tensors[90:], index[90:], labels[90:])
    same(merged, summary_of(rows, None, labels), rtol=1e-11)


def test_gradients_are_let_go() -> None:
    rows = torch.from_numpy(gaussian()).requires_grad_()
    same(summary_of(rows), summary_of(gaussian()), rtol=1e-12)


@pytest.mark.skipif(SECOND_DEVICE is None, reason="there is no second device with float64 (CUDA) here")
def test_a_second_device_gives_the_same_numbers() -> None:
    for rows, labels in (messy(), (gaussian(300, 600, alpha=1.0), np.arange(300) % 3)):
        tensors = torch.from_numpy(rows).to(SECOND_DEVICE)
        same(summary_of(tensors, None, labels, batch=64), summary_of(rows, None, labels), rtol=1e-11)


# -- wide rows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tensors", [False, True])
def test_totals_of_wide_rows_are_exact(tensors: bool) -> None:
    rows = gaussian(60, 600, alpha=0.5) + 0.2
    got = numbers(summary_of(torch.from_numpy(rows) if tensors else rows, batch=25))
    for name, definition in slow.MEASURED.items():
        np.testing.assert_allclose(got[name], definition(rows), rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("alpha", [1.0])
def test_wide_rows_have_sensible_intervals(alpha: float) -> None:
    """The blocks are folded into 512 coordinates; what they say about the width holds for the whole."""
    values: dict[str, list[float]] = {}
    widths: dict[str, list[float]] = {}
    for seed in range(3):
        summary = summary_of(gaussian(200, 1500, seed, alpha) + 0.2)
        summary.flush()
        for name, found in streaming_measurements(summary.raw, summary.unit).items():
            assert found.interval is not None and found.low <= found.value <= found.high, name
            values.setdefault(name, []).append(found.value)
            widths.setdefault(name, []).append(found.high - found.low)
    for name in ("relative_spread", "effective_rank", "participation_ratio", "cosine_std", "std_ratio"):
        assert np.ptp(values[name]) < 1.5 * np.mean(widths[name]) < np.mean(values[name]), name


def test_wide_equal_rows_have_no_interval_trouble() -> None:
    measured = observe_arrays(np.full((50, 600), 0.1)).measurements
    assert measured["relative_spread"].value == 0 and measured["mean_cosine"].value == 1
    assert np.isnan(measured["effective_rank"].value) and measured["effective_rank"].interval is None
