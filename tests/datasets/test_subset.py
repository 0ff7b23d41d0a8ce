from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapsecheck.datasets.subset import choose_items
from collapsecheck.errors import UsageError


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60),
    st.integers(1, 70),
    st.integers(0, 2**31),
)
def test_classes_keep_their_share(labels: list[int], size: int, seed: int) -> None:
    array = np.array(labels, dtype=np.int64)
    chosen = choose_items(len(array), array, size, seed)
    assert len(chosen) == min(size, len(array)) and (np.diff(chosen) > 0).all()
    assert chosen.min() >= 0 and chosen.max() < len(array)
    present = np.unique(array)
    if size >= len(present):
        assert set(array[chosen]) == set(present)
    for label in present:
        fair = len(chosen) * (array == label).mean()
        assert abs((array[chosen] == label).sum() - fair) <= len(present)
    assert np.array_equal(chosen, choose_items(len(array), array, size, seed))


@given(st.integers(1, 50), st.integers(1, 50), st.booleans())
def test_a_larger_choice_holds_the_smaller(count: int, size: int, labelled: bool) -> None:
    labels = np.arange(count) % 3 if labelled else None
    small, large = (choose_items(count, labels, n, seed=1) for n in (size, size + 5))
    assert set(small) <= set(large)


def test_the_seed_matters_and_no_limit_means_all() -> None:
    assert not np.array_equal(choose_items(1000, None, 50, 0), choose_items(1000, None, 50, 1))
    assert choose_items(4, None, None, 0).tolist() == choose_items(4, None, 9, 0).tolist() == [0, 1, 2, 3]
    with pytest.raises(UsageError, match="--max-samples"):
        choose_items(4, None, 0, 0)
