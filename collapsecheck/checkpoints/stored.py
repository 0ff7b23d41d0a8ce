"""Tensors that stay in their file until somebody asks for their numbers; torch is imported only then."""

from __future__ import annotations

import math
import mmap
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from collapsecheck.errors import NotLoadableError

if TYPE_CHECKING:
    import torch

# Bytes of one element, by torch's name of the type.
ITEMSIZE = {
    "bool": 1, "uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "uint32": 4, "int32": 4, "uint64": 8, "int64": 8,
    "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex32": 4, "complex64": 8, "complex128": 16,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
}  # fmt: skip


class StoredTensor(ABC):
    """A dense tensor in a checkpoint: its type, shape and place are known, its numbers are not read yet.

    `dtype` is torch's name without `torch.`, one of `ITEMSIZE`; sizes are in elements.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the numbers take in memory."""
        return self.numel * ITEMSIZE[self.dtype]

    @property
    def is_floating_point(self) -> bool:
        """Whether these can be weights, rather than counters and indices."""
        return "float" in self.dtype

    @abstractmethod
    def tensor(self) -> torch.Tensor:
        """Return the tensor on the CPU; mapped into memory where the format allows, never written back.

        Raises
        ------
        NotLoadableError
            If the file changed or cannot be read any more.
        """


_SHORTER = "the file became shorter while it was read; try again"


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedTensor(StoredTensor):
    """A tensor whose bytes lie in a file as they are.

    `offset` is where its first element begins, in bytes from the start of the file; `strides` are in elements.
    Whoever makes one has checked that it lies within the file, and that it is not larger than the bytes it
    covers: views that repeat elements can declare any size.
    """

    dtype: str
    shape: tuple[int, ...]
    file: Path
    offset: int
    strides: tuple[int, ...] | None = None  # None: row after row
    big_endian: bool = False

    @property
    def span(self) -> int:
        """Bytes from the first to behind the last element in the file."""
        if not self.numel:
            return 0
        if self.strides is None:
            return self.nbytes
        last = sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        return (last + 1) * ITEMSIZE[self.dtype]

    def tensor(self) -> torch.Tensor:
        """Return a view of the mapped file; a change of it stays in memory."""
        import torch

        dtype = getattr(torch, self.dtype)
        if not self.numel:
            return torch.empty(self.shape, dtype=dtype)
        if self.big_endian and sys.byteorder == "little" and ITEMSIZE[self.dtype] > 1:
            flat = torch.frombuffer(self._copied(), dtype=torch.uint8)
            size = ITEMSIZE[self.dtype] // (2 if dtype.is_complex else 1)
            flat = flat.view(-1, size).flip(1).reshape(-1).view(dtype)
        elif self.offset % ITEMSIZE[self.dtype]:  # not every instruction reads across its alignment
            flat = torch.frombuffer(self._copied(), dtype=dtype)
        else:
            held = _mapping(self.file, stamp(self.file))
            if self.offset + self.span > len(held):
                raise NotLoadableError(_SHORTER)
            flat = torch.frombuffer(held, dtype=dtype, count=self.span // ITEMSIZE[self.dtype], offset=self.offset)
        return flat.view(self.shape) if self.strides is None else flat.as_strided(self.shape, self.strides)

    def _copied(self) -> bytearray:
        """The bytes in memory of their own; out of the mapping they would be there twice."""
        content = bytearray(self.span)
        with self.file.open("rb") as opened:
            opened.seek(self.offset)
            if opened.readinto(content) < len(content):
                raise NotLoadableError(_SHORTER)
        return content


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTensor(StoredTensor):
    """A tensor whose bytes are in memory already, row after row: small ones, and those put together."""

    dtype: str
    shape: tuple[int, ...]
    content: bytes | bytearray

    def tensor(self) -> torch.Tensor:
        """Return a tensor of its own memory."""
        import torch

        dtype = getattr(torch, self.dtype)
        if not self.numel:
            return torch.empty(self.shape, dtype=dtype)
        return torch.frombuffer(bytearray(self.content), dtype=dtype).view(self.shape)


Stamp = tuple[int, int, int]


def stamp(file: Path) -> Stamp:
    """Return what changes when a file is written anew: what was opened before must not stand for it then."""
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


@lru_cache(maxsize=64)
def _mapping(file: Path, _: Stamp) -> mmap.mmap:
    with file.open("rb") as opened:
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)
