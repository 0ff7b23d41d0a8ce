"""64-bit hashes of rows and of item numbers, and 32-bit hashes of single values."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Words = NDArray[Any]  # unsigned integers of 8, 16, 32 or 64 bits


def mix(values: NDArray[np.uint64]) -> Hashes:
    """Bijective 64-bit finaliser (SplitMix64, Steele, Lea & Flood 2014): equal in, equal out, else spread out."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def priorities(indices: NDArray[np.int64], seed: int) -> Hashes:
    """One pseudo-random number per item number, the same whatever the order, the batch size or the shard."""
    salt = mix(np.array([seed % 2**64], dtype=np.uint64))
    return mix(indices.astype(np.uint64) ^ salt)


def bit_patterns(rows: NDArray[Any]) -> Words:
    """Rows [n, ...] as unsigned integers [n, D], 0.0 and −0.0 alike (they are equal to torch.unique)."""
    rows = rows.reshape(len(rows), math.prod(rows.shape[1:]))
    if rows.dtype in (np.float16, np.bool_):
        rows = rows.astype(np.float32)
    if np.issubdtype(rows.dtype, np.floating):
        rows = rows + rows.dtype.type(0)
    size = rows.dtype.itemsize
    return np.ascontiguousarray(rows).view({8: np.uint64, 4: np.uint32, 2: np.uint16, 1: np.uint8}[size])


def hash_rows(words: Words) -> Hashes:
    """One hash per row of bit patterns [n, D]: multilinear (Lemire & Kaser 2014), then mixed.

    Two different rows collide with a probability of about 2⁻³² or less, and rows from nature far more rarely.
    """
    coefficients = _coefficients(words.shape[1])
    with np.errstate(over="ignore"):
        if words.dtype == np.uint64:
            words = words ^ (words >> np.uint64(32))  # the upper half must reach the lower bits of the sum too
        return mix(np.einsum("nd,d->n", words, coefficients, dtype=np.uint64, casting="safe"))


@lru_cache(maxsize=8)
def _coefficients(count: int) -> Hashes:
    return mix(np.arange(count, dtype=np.uint64)) | np.uint64(1)


def hash_values(words: Words) -> NDArray[np.uint32]:
    """One 32-bit hash per bit pattern of [n, D]; bijective (so: no collision) for types of up to 32 bits.

    Multiplication by 2³² over the golden ratio (Knuth 1973, 6.4) spreads what matters here, the order of the hashes.
    """
    with np.errstate(over="ignore"):
        if words.dtype == np.uint64:
            words = (mix(words) >> np.uint64(32)).astype(np.uint32)
        return np.asarray(words.astype(np.uint32, copy=False) * np.uint32(0x9E3779B1))
