"""Scalars and arrays of NumPy in a pickle, from their recorded types and bytes; NumPy itself is not asked."""

from __future__ import annotations

import math
import struct
from typing import Any

from collapsecheck.checkpoints.inert.budget import Budget
from collapsecheck.checkpoints.records import Stand
from collapsecheck.checkpoints.stored import ITEMSIZE, HeldTensor

_TYPES = {
    "b1": "bool", "u1": "uint8", "i1": "int8", "u2": "uint16", "i2": "int16", "u4": "uint32", "i4": "int32",
    "u8": "uint64", "i8": "int64", "f2": "float16", "f4": "float32", "f8": "float64", "c8": "complex64",
    "c16": "complex128",
}  # fmt: skip
_FORMATS = {
    "bool": "?", "uint8": "B", "int8": "b", "uint16": "H", "int16": "h", "uint32": "I", "int32": "i", "uint64": "Q",
    "int64": "q", "float16": "e", "float32": "f", "float64": "d", "complex64": "ff", "complex128": "dd",
}  # fmt: skip
_RECONSTRUCT = frozenset({"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"})
_FROM_BUFFER = frozenset({"numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"})
_MOST_DIMENSIONS = 64
_LONGEST_TEXT = 4096  # bytes


Scalar = bool | int | float | complex | str


def numpy_scalar(kind: Any, content: Any) -> Scalar | None:
    """Return `numpy.core.multiarray.scalar(kind, content)` as a number of Python's, None where it is none."""
    if type(content) not in (bytes, str) or len(content) > _LONGEST_TEXT or not isinstance(kind, Stand):
        return None
    content = _as_bytes(content)
    if content is None:
        return None
    found = _number_type(kind)
    if found is not None:
        dtype, big_endian = found
        layout = (">" if big_endian else "<") + _FORMATS[dtype]
        if len(content) != struct.calcsize(layout):
            return None
        parts = struct.unpack(layout, content)
        number: Scalar = complex(*parts) if len(parts) == 2 else parts[0]
        return number
    if _code(kind)[:1] == "U" and len(content) % 4 == 0:  # what other texts are not
        text: str = content.decode("utf-32-be" if _is_big_endian(kind) else "utf-32-le", "replace")
        return text.rstrip("\0")
    return None


def is_array(stand: Stand) -> bool:
    """Whether NumPy would make an array here."""
    return stand.path in _RECONSTRUCT or stand.path in _FROM_BUFFER


def numpy_array(stand: Stand, budget: Budget) -> HeldTensor | None:
    """Return an array as a tensor, None if it is of objects, of text, or damaged."""
    if stand.path in _FROM_BUFFER:
        if len(stand.arguments) != 4:
            return None
        content, kind, shape, order = stand.arguments
        columns_first = order == "F"
    else:
        if type(stand.state) is not tuple or len(stand.state) != 5:
            return None
        _, shape, kind, columns_first, content = stand.state
    if type(content) is str:
        budget.take(len(content))
        content = _as_bytes(content)
    found = _number_type(kind) if isinstance(kind, Stand) else None
    if found is None or type(content) not in (bytes, bytearray):
        return None
    if type(shape) is not tuple or len(shape) > _MOST_DIMENSIONS:
        return None
    dtype, big_endian = found
    if not all(type(size) is int and 0 <= size < 1 << 62 for size in shape):
        return None
    if math.prod(shape) * ITEMSIZE[dtype] != len(content):
        return None
    if (columns_first is True and len(shape) > 1) or (big_endian and ITEMSIZE[dtype] > 1):
        budget.take(len(content))
        content = _in_rows(content, dtype, shape, columns_first is True, big_endian)
    return HeldTensor(dtype=dtype, shape=shape, content=content)


def _in_rows(
    content: bytes | bytearray, dtype: str, shape: tuple[int, ...], columns_first: bool, big_endian: bool
) -> bytes:
    import numpy as np

    own = np.dtype(dtype)
    array = np.frombuffer(content, dtype=own.newbyteorder(">" if big_endian else "<"))
    array = array.reshape(shape, order="F" if columns_first else "C")
    return array.astype(own.newbyteorder("<")).tobytes(order="C")


def _number_type(kind: Stand) -> tuple[str, bool] | None:
    """Return (torch's name, whether big-endian) of a pickled `numpy.dtype`."""
    dtype = _TYPES.get(_code(kind))
    return None if dtype is None else (dtype, _is_big_endian(kind))


def _code(kind: Stand) -> str:
    if kind.path != "numpy.dtype" or not kind.arguments or type(kind.arguments[0]) is not str:
        return ""
    return kind.arguments[0]


def _is_big_endian(kind: Stand) -> bool:
    return type(kind.state) is tuple and len(kind.state) > 1 and kind.state[1] == ">"


def _as_bytes(content: bytes | str) -> bytes | None:
    """Python 2 wrote bytes as text."""
    if isinstance(content, str):
        return content.encode("ascii") if content.isascii() else None
    return content
