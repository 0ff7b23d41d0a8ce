"""The numbers of small stored tensors, read without torch: counters, steps, running statistics."""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from collapsecheck.checkpoints.safetensors_reader import SafetensorsTensor
from collapsecheck.checkpoints.stored import ITEMSIZE, HeldTensor, MappedTensor, Stamp, StoredTensor, stamp
from collapsecheck.errors import NotLoadableError

MOST = 1 << 16  # elements that count as small
_CODES = {
    "bool": "b", "uint8": "B", "int8": "b", "uint16": "H", "int16": "h", "uint32": "I", "int32": "i", "uint64": "Q",
    "int64": "q", "float32": "f", "float64": "d",
}  # fmt: skip


def small_numbers(stored: StoredTensor, most: int = MOST) -> Sequence[float] | None:
    """Return the elements in the order of rows, None if there are more than `most` or they are no plain numbers.

    Only the bytes of this tensor are read. Where they are not in one piece, torch puts them together.

    Raises
    ------
    NotLoadableError
        If the file changed or cannot be read any more.
    """
    if stored.numel > most or not (stored.dtype in _CODES or stored.dtype in ("float16", "bfloat16")):
        return None
    if not stored.numel:
        return ()
    content = _content(stored)
    if content is None:
        numbers: list[float] = stored.tensor().reshape(-1).tolist()
        return numbers
    if len(content) != stored.nbytes:
        raise NotLoadableError("the file became shorter while it was read; try again")
    if stored.dtype == "float16":
        return struct.unpack(f"<{stored.numel}e", content)
    if stored.dtype == "bfloat16":  # the upper half of a float32
        return struct.unpack(
            f"<{stored.numel}f", b"".join(b"\0\0" + content[i : i + 2] for i in range(0, len(content), 2))
        )
    found = array(_CODES[stored.dtype])
    found.frombytes(content)
    if sys.byteorder == "big":
        found.byteswap()
    return found


def one_number(stored: StoredTensor) -> float | None:
    """Return the element of a tensor that has just one, such as a step."""
    found = small_numbers(stored, most=1)
    return found[0] if found else None


def _content(stored: StoredTensor) -> bytes | None:
    """Return the bytes of a tensor, None where they are not one little-endian piece."""
    if isinstance(stored, HeldTensor):
        return bytes(stored.content)
    if isinstance(stored, MappedTensor):
        whole = stored.strides is None or stored.strides == _row_after_row(stored.shape)
        if not whole or (stored.big_endian and ITEMSIZE[stored.dtype] > 1):
            return None
        return _read(stored.file, stored.offset, stored.nbytes)
    if isinstance(stored, SafetensorsTensor):
        return _read(stored.file, _offsets(stored.file, stamp(stored.file))[stored.name], stored.nbytes)
    return None


def _row_after_row(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def _read(file: Path, offset: int, size: int) -> bytes:
    try:
        with file.open("rb") as opened:
            opened.seek(offset)
            return opened.read(size)
    except OSError as error:
        raise NotLoadableError("the file cannot be read any more; try again") from error


@lru_cache(maxsize=64)
def _offsets(file: Path, _: Stamp) -> dict[str, int]:
    """Return where the tensors of a safetensors file begin; the library has checked its header before."""
    size = int.from_bytes(_read(file, 0, 8), "little")
    header = json.loads(_read(file, 8, size))
    return {name: 8 + size + held["data_offsets"][0] for name, held in header.items() if name != "__metadata__"}
