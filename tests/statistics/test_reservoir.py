from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapsecheck.statistics.hashing import priorities
from collapsecheck.statistics.reservoir import Reservoir


def reservoir(numbers: np.ndarray, capacity: int = 20, seed: int = 0) -> Reservoir:
    kept = Reservoir(capacity)
    kept.offer(priorities(numbers, seed), numbers=numbers, rows=np.stack([numbers, -numbers], axis=1))
    return kept


@given(st.integers(0, 60), st.lists(st.integers(0, 60), max_size=5), st.integers(0, 100))
def test_order_batches_and_shards_do_not_matter(n: int, cuts: list[int], seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(n)
    merged = Reservoir(20)
    for shard in np.split(shuffled, sorted(cuts)):
        other = Reservoir(20)
        for part in np.array_split(shard, 3):
            other.offer(priorities(part, 0), numbers=part, rows=np.stack([part, -part], axis=1))
        merged.merge(other)
    whole = reservoir(np.arange(n))
    assert len(merged) == len(whole) == min(n, 20)
    if n:
        np.testing.assert_array_equal(merged["numbers"], whole["numbers"])
        np.testing.assert_array_equal(merged["rows"], np.stack([whole["numbers"], -whole["numbers"]], axis=1))


def test_every_item_is_drawn_equally_often() -> None:
    drawn = np.concatenate([reservoir(np.arange(100), seed=seed)["numbers"] for seed in range(3000)])
    counts = np.bincount(drawn, minlength=100)
    chi_squared = ((counts - 600) ** 2 / (600 * 0.8)).sum()
    assert chi_squared < 149  # 99.9 % quantile at 99 degrees of freedom


@pytest.mark.parametrize("stride", [1, 2, 1000])
def test_regular_numbers_are_drawn_evenly(stride: int) -> None:
    numbers = np.arange(0, 10_000 * stride, stride)
    drawn = reservoir(numbers, capacity=2000)["numbers"] // stride
    shares = np.histogram(drawn, 10, (0, 10_000))[0] / 2000
    np.testing.assert_allclose(shares, 0.1, atol=0.025)
    np.testing.assert_allclose((drawn % 2).mean(), 0.5, atol=0.04)


def test_what_is_kept_belongs_to_the_reservoir() -> None:
    numbers = np.arange(10)
    kept = reservoir(numbers)
    numbers[:] = -1
    assert sorted(kept["numbers"]) == list(range(10))
