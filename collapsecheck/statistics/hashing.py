"""64-bit hashes of rows and of item numbers, and 32-bit hashes of single values.

Rows may be numpy arrays, or tensors, which are hashed on their device: bit for bit the same hashes. Tensors have no
unsigned types worth the name: there, words are the two's complement of what numpy has.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Words = Any  # of numpy: unsigned integers of 8, 16, 32 or 64 bits; of torch: int32 or int64

# Multiplication by 2³² over the golden ratio (Knuth 1973, 6.4) spreads what matters here, the order of the hashes.
_KNUTH = 0x9E3779B1
_LOW = 0xFFFFFFFF


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


def bit_patterns(rows: Any) -> Words:
    """Rows [n, ...] as integers [n, D], 0.0 and −0.0 alike (they are equal to torch.unique)."""
    rows = rows.reshape(len(rows), math.prod(rows.shape[1:]))
    if not isinstance(rows, np.ndarray):
        return _bit_patterns_of_tensor(rows)
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
    if not isinstance(words, np.ndarray):
        return hashes_of_sums(row_sums(words))
    with np.errstate(over="ignore"):
        if words.dtype == np.uint64:
            words = words ^ (words >> np.uint64(32))  # the upper half must reach the lower bits of the sum too
        return mix(np.einsum("nd,d->n", words, _coefficients(words.shape[1]), dtype=np.uint64, casting="safe"))


def row_sums(words: Any) -> Any:
    """First half of `hash_rows` for tensors, on their device and without waiting for it: [n] of int64."""
    folded = words ^ _shifted(words, 32) if words.dtype.itemsize == 8 else words.long() & _LOW
    return (folded * _coefficients_on(folded.device, words.shape[1])).sum(1)  # modulo 2⁶⁴, as unsigned numbers are


def hashes_of_sums(sums: Any) -> Hashes:
    """Second half of `hash_rows` for tensors."""
    return mix(sums.cpu().numpy().view(np.uint64))


@lru_cache(maxsize=8)
def _coefficients_on(device: Any, count: int) -> Any:
    import torch

    return torch.from_numpy(_coefficients(count).view(np.int64)).to(device)


@lru_cache(maxsize=8)
def _coefficients(count: int) -> Hashes:
    return mix(np.arange(count, dtype=np.uint64)) | np.uint64(1)


def hash_values(words: Words) -> Any:
    """One 32-bit hash per bit pattern of [n, D]; bijective (so: no collision) for types of up to 32 bits.

    Returns uint32, or for tensors the same numbers as int64.
    """
    if not isinstance(words, np.ndarray):
        folded = _shifted(_mixed(words), 32) if words.dtype.itemsize == 8 else words.long() & _LOW
        return (folded * _KNUTH) & _LOW
    with np.errstate(over="ignore"):
        if words.dtype == np.uint64:
            words = (mix(words) >> np.uint64(32)).astype(np.uint32)
        return np.asarray(words.astype(np.uint32, copy=False) * np.uint32(_KNUTH))


def _bit_patterns_of_tensor(rows: Any) -> Any:
    import torch

    if rows.dtype.is_floating_point:
        rows = (rows if rows.dtype.itemsize >= 4 else rows.float()) + 0.0
        return rows.contiguous().view(torch.int64 if rows.dtype.itemsize == 8 else torch.int32)
    if rows.dtype == torch.bool:
        return rows.float().view(torch.int32)
    if rows.dtype == torch.int64:
        return rows
    return (rows.long() & ((1 << 8 * rows.dtype.itemsize) - 1)).int()


def _shifted(values: Any, by: int) -> Any:
    """Right shift of the two's complement as of an unsigned number."""
    return (values >> by) & ((1 << (64 - by)) - 1)


def _mixed(values: Any) -> Any:
    """`mix` on the device of a tensor."""
    z = values + _signed(0x9E3779B97F4A7C15)
    z = (z ^ _shifted(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _shifted(z, 31)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
