from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapsecheck.statistics.distinct import DistinctRows, DistinctValues
from collapsecheck.statistics.hashing import bit_patterns, hash_rows, hash_values, mix

from . import slow


def rows_of(values: np.ndarray, capacity: int = 65_536) -> DistinctRows:
    counter = DistinctRows(capacity)
    counter.add(hash_rows(bit_patterns(values)))
    return counter


def values_of(values: np.ndarray, capacity: int = 256) -> DistinctValues:
    counter = DistinctValues(values.shape[1], capacity)
    counter.add(hash_values(bit_patterns(values)))
    return counter


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_counts_as_torch_unique_does(dtype: type) -> None:
    values = np.round(np.random.default_rng(0).standard_normal((400, 3)), 1).astype(dtype)
    values[::7] = -0.0
    assert rows_of(values).count == slow.distinct_rows(values)
    assert values_of(values).counts.tolist() == slow.distinct_values(values)


def test_bfloat16_values_widen_exactly() -> None:
    values = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    counts = values_of(values.float().numpy(), capacity=4096).counts
    assert counts.tolist() == [len(torch.unique(column)) for column in values.T]


SPLITS = st.lists(st.integers(0, 400), max_size=6)


@given(SPLITS, st.integers(0, 10), st.sampled_from([16, 64, 100_000]))
def test_order_batches_and_shards_do_not_matter(cuts: list[int], seed: int, capacity: int) -> None:
    random = np.random.default_rng(seed)
    values = random.integers(0, 90, (400, 1)).astype(np.float32) * np.ones((1, 2), np.float32)
    whole_rows, whole_values = rows_of(values, capacity), values_of(values, min(capacity, 256))
    shards = np.split(values[random.permutation(400)], sorted(cuts))
    merged_rows, merged_values = DistinctRows(capacity), DistinctValues(2, min(capacity, 256))
    for shard in shards:
        merged_rows.merge(rows_of(shard, capacity))
        merged_values.merge(values_of(shard, min(capacity, 256)))
    assert whole_rows.seen == merged_rows.seen == 400
    assert whole_rows.count == merged_rows.count and whole_rows.exact == merged_rows.exact == (capacity > 90)
    np.testing.assert_array_equal(whole_rows.hashes, merged_rows.hashes)
    np.testing.assert_array_equal(whole_rows.counts, merged_rows.counts)
    np.testing.assert_array_equal(whole_values.kept, merged_values.kept)


def test_exact_up_to_the_capacity_and_wherever_no_row_repeats() -> None:
    hashes = mix(np.arange(5000, dtype=np.uint64))
    for capacity in (5000, 5001, 100):
        counter = DistinctRows(capacity)
        for part in np.split(hashes, 10):
            counter.add(part)
        np.testing.assert_allclose(counter.count, 5000, rtol=1e-12)
    assert DistinctRows().count == 0


@pytest.mark.parametrize("copies", [2, 10])
@pytest.mark.parametrize("even", [True, False])
def test_the_estimate_above_the_capacity_is_within_two_per_cent(copies: int, even: bool) -> None:
    random = np.random.default_rng(copies)
    distinct = 200_000
    counts = np.full(distinct, copies) if even else random.integers(1, 2 * copies, distinct)
    hashes = np.repeat(mix(np.arange(distinct, dtype=np.uint64)), counts)
    counter = DistinctRows()
    for part in np.array_split(random.permutation(hashes), 7):
        counter.add(part)
    assert not counter.exact and counter.seen == counts.sum()
    np.testing.assert_allclose(counter.count, distinct, rtol=0.02)


@pytest.mark.parametrize("distinct", [1, 254, 255])
def test_values_are_exact_below_the_capacity(distinct: int) -> None:
    values = np.random.default_rng(0).permutation(np.arange(20 * distinct) % distinct).astype(np.float32)
    assert values_of(values[:, None]).counts.tolist() == [distinct]


@pytest.mark.parametrize("distinct", [256, 1000, 60_000])
def test_values_are_estimated_above_the_capacity(distinct: int) -> None:
    """Each dimension to 1/√256, 6 %; their median to about 1 %."""
    random = np.random.default_rng(0)
    values = random.standard_normal((distinct, 64)).astype(np.float32)
    counts = values_of(np.concatenate([values, values[::-1]])).counts
    assert np.abs(counts / distinct - 1).max() < 4 / 16
    np.testing.assert_allclose(np.median(counts), distinct, rtol=0.02)


def test_dimensions_fill_up_one_by_one() -> None:
    values = np.stack([np.arange(3000) % 5, np.arange(3000), np.arange(3000) % 400, np.zeros(3000)], axis=1)
    counter = DistinctValues(4)
    for part in np.array_split(values.astype(np.float32), 11):
        counter.add(hash_values(bit_patterns(part)))
    assert counter.counts[[0, 3]].tolist() == [5, 1]
    np.testing.assert_allclose(counter.counts[[1, 2]], [3000, 400], rtol=0.2)
    assert DistinctValues(3).counts.tolist() == [0, 0, 0]


EDGES = st.sampled_from([0, 1, 2, 2**31, 2**32 - 3, 2**32 - 2, 2**32 - 1])


@given(st.lists(st.lists(EDGES | st.integers(0, 40), min_size=3, max_size=3), max_size=60), st.integers(1, 9), SPLITS)
def test_the_smallest_hashes_of_each_dimension_are_kept(rows: list[list[int]], capacity: int, cuts: list[int]) -> None:
    hashes = np.array(rows, np.uint32).reshape(-1, 3)
    counter = DistinctValues(3, capacity)
    for part in np.split(hashes, sorted(min(cut, len(hashes)) for cut in cuts)):
        counter.add(part)
    for dimension in range(3):
        smallest = np.unique(np.minimum(hashes[:, dimension], np.uint32(2**32 - 2)))[:capacity]
        found = counter.kept[dimension]
        assert found[found != DistinctValues.EMPTY].tolist() == smallest.tolist()
