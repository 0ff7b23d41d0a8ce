"""Elements of tensors that are stored as numbers of any length."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from collapsecheck.checkpoints.protobuf import Buffer, Field, Wire
from collapsecheck.checkpoints.stored import ITEMSIZE, HeldTensor, StoredTensor
from collapsecheck.errors import NotLoadableError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Types of less than a byte.
BITS = {"uint4": 4, "int4": 4, "float4_e2m1": 4, "uint2": 2, "int2": 2}


def unpacked(held: Buffer, parts: list[Field], kind: str, shape: tuple[int, ...], shown: str) -> StoredTensor | None:
    """Return numbers that are stored as varints; those of one or two bytes hold the bits of the element."""
    import numpy as np

    count = math.prod(shape)
    numbers = np.concatenate([_numbers(held, part) for part in parts])
    if kind in BITS:
        same_number(len(numbers), (count * BITS[kind] + 7) // 8, shown)
        return None
    same_number(len(numbers), count, shown)
    content = numbers.astype(f"<u{ITEMSIZE[kind]}").tobytes()
    return HeldTensor(dtype=kind, shape=shape, content=content)


def _numbers(held: Buffer, part: Field) -> NDArray[np.uint64]:
    """Decode varints `[n]` (uint64) all at once: one by one takes a second for a million."""
    import numpy as np

    if part.wire != Wire.LENGTH:
        return np.array([part.value], dtype=np.uint64)
    stored = np.frombuffer(bytes(held[part.start : part.end]), dtype=np.uint8)
    if not len(stored):
        return np.zeros(0, dtype=np.uint64)
    ends = np.flatnonzero(stored < 128)
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else np.zeros(0, np.intp)
    if not len(ends) or ends[-1] != len(stored) - 1 or (ends - starts).max() >= 10:
        raise NotLoadableError("a tensor has a damaged number; export or download the model again")
    places = np.arange(len(stored)) - np.repeat(starts, ends - starts + 1)
    shifted = (stored & np.uint8(127)).astype(np.uint64) << (7 * places).astype(np.uint64)
    numbers: NDArray[np.uint64] = np.bitwise_or.reduceat(shifted, starts)
    return numbers


def same_number(there: int, expected: int, shown: str) -> None:
    """Refuse a tensor with other numbers of elements, or of bytes, than its shape says."""
    if there != expected:
        raise NotLoadableError(
            f"{shown} declares {expected:,} numbers or bytes and has {there:,}; the file is damaged, "
            "export the model again"
        )
