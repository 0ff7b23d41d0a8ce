from __future__ import annotations

import numpy as np
import pytest
import torch

from collapsecheck.statistics.hashing import bit_patterns, hash_rows, hash_values, mix, priorities

DTYPES = (np.float64, np.float32, np.float16, np.int64, np.int32, np.int16, np.uint8, np.bool_)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_zero_is_zero_whatever_its_sign(dtype: type) -> None:
    words = bit_patterns(np.array([[0.0, 1.0], [-0.0, 1.0]], dtype))
    assert hash_rows(words)[0] == hash_rows(words)[1]
    np.testing.assert_array_equal(*hash_values(words))


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_rows_have_equal_hashes_and_others_do_not(dtype: type) -> None:
    rows = np.unique(np.random.default_rng(0).integers(0, 2 if dtype is np.bool_ else 100, (500, 16)), axis=0)
    rows = rows.astype(dtype)
    hashes = hash_rows(bit_patterns(rows))
    assert len(np.unique(hashes)) == len(rows)
    np.testing.assert_array_equal(hashes[::-1], hash_rows(bit_patterns(rows[::-1])))


def test_the_hash_of_a_row_does_not_depend_on_the_memory_layout() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 3, 4)).astype(np.float32)
    for other in (np.asfortranarray(rows), rows[::-1][::-1], rows.reshape(50, 12)):
        np.testing.assert_array_equal(hash_rows(bit_patterns(other)), hash_rows(bit_patterns(rows)))


def test_a_million_rows_do_not_collide() -> None:
    random = np.random.default_rng(0)
    for rows in (
        random.standard_normal((1_000_000, 4), dtype=np.float32),
        random.standard_normal((1_000_000, 2)),
        np.stack(np.divmod(np.arange(1_000_000), 1000), axis=1).astype(np.float64),  # few bits, all high
        np.arange(1_000_000)[:, None],
    ):
        assert len(np.unique(hash_rows(bit_patterns(rows)))) == 1_000_000


def test_binary_rows_hardly_collide() -> None:
    """Numbers like 0 and 1 differ in their upper bits only, which is the worst case of the multilinear hash."""
    bits = ((np.arange(200_000)[:, None] >> np.arange(20)) & 1).astype(np.float32)
    assert len(np.unique(hash_rows(bit_patterns(bits)))) == 200_000


def test_order_within_a_row_matters() -> None:
    assert hash_rows(bit_patterns(np.array([[1.0, 2.0]]))) != hash_rows(bit_patterns(np.array([[2.0, 1.0]])))


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int16, np.uint8])
def test_values_of_up_to_32_bits_never_collide(dtype: type) -> None:
    values = np.arange(200).astype(dtype) if dtype is np.uint8 else np.arange(30_000).astype(dtype)
    assert len(np.unique(hash_values(bit_patterns(values[:, None])))) == len(values)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_hashes_of_values_are_spread_evenly(dtype: type) -> None:
    for values in (np.random.default_rng(0).standard_normal(100_000), np.arange(100_000), np.arange(100_000) / 1e5):
        shares = np.histogram(hash_values(bit_patterns(values.astype(dtype)[:, None])), 16, (0, 2**32))[0] / 100_000
        np.testing.assert_allclose(shares, 1 / 16, atol=0.005)


def test_mix_is_a_bijection_with_every_bit_alive() -> None:
    mixed = mix(np.arange(100_000, dtype=np.uint64))
    assert len(np.unique(mixed)) == 100_000
    for bit in range(64):
        np.testing.assert_allclose(((mixed >> np.uint64(bit)) & np.uint64(1)).mean(), 0.5, atol=0.01)


def test_priorities_depend_on_the_seed_and_on_nothing_else() -> None:
    numbers = np.arange(1000)
    np.testing.assert_array_equal(priorities(numbers, 3)[::-1], priorities(numbers[::-1], 3))
    assert not np.any(priorities(numbers, 3) == priorities(numbers, 4))
    for seed in (-1, 2**64, 2**70):
        assert len(np.unique(priorities(numbers, seed))) == 1000


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_have_the_same_hashes(dtype: type) -> None:
    rows = (np.random.default_rng(0).standard_normal((200, 7)) * 100).astype(dtype)
    rows[3] = -rows[3] * 0 if np.issubdtype(dtype, np.floating) else rows[3]
    words, tensors = bit_patterns(rows), bit_patterns(torch.from_numpy(rows))
    np.testing.assert_array_equal(hash_rows(words), hash_rows(tensors))
    np.testing.assert_array_equal(hash_values(words), hash_values(tensors).numpy().astype(np.uint32))
