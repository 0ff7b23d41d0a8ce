"""Tensors that a distributed run saved in parts, put together when their numbers are asked for."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collapsecheck.checkpoints.stored import StoredTensor
from collapsecheck.errors import NotLoadableError

if TYPE_CHECKING:
    import torch

_MOST_DIMENSIONS = 64
_LARGEST = 1 << 62  # elements: torch counts them, and their bytes, in 64 bits with a sign


def is_shape(shape: Sequence[int]) -> bool:
    """Whether these sizes can be those of a tensor: also an empty one must not overflow torch's counters."""
    return (
        len(shape) <= _MOST_DIMENSIONS
        and all(size >= 0 for size in shape)
        and math.prod(size for size in shape if size) <= _LARGEST
    )


class Chunk(ABC):
    """A part of a tensor: where in it the part begins, and how large it is, in elements along each axis."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]

    @abstractmethod
    def tensor(self) -> torch.Tensor:
        """Return the numbers of the part.

        Raises
        ------
        NotLoadableError
            If they cannot be read.
        """


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class JoinedTensor(StoredTensor):
    """A tensor made of chunks that do not overlap and leave no gap.

    Raises
    ------
    NotLoadableError
        When it is made, if the chunks do not fit the shape.
    """

    dtype: str
    shape: tuple[int, ...]
    chunks: tuple[Chunk, ...]

    def __post_init__(self) -> None:
        for chunk in self.chunks:
            if (
                len(chunk.offsets) != len(self.shape)
                or len(chunk.sizes) != len(self.shape)
                or any(offset < 0 or size < 0 for offset, size in zip(chunk.offsets, chunk.sizes, strict=True))
                or any(
                    offset + size > whole
                    for offset, size, whole in zip(chunk.offsets, chunk.sizes, self.shape, strict=True)
                )
            ):
                raise NotLoadableError("a part of it lies outside of it; the file is damaged, save or copy it again")
        covered = sum(math.prod(chunk.sizes) for chunk in self.chunks)
        if covered != self.numel:
            raise NotLoadableError(
                f"its parts have {covered:,} elements, expected {self.numel:,}; a part is missing or there twice, "
                "copy the files of all ranks"
            )

    def tensor(self) -> torch.Tensor:
        """Return the whole tensor; mapped into memory where it is in one part, else in memory of its own."""
        import torch

        dtype = getattr(torch, self.dtype)
        if len(self.chunks) == 1:
            return self._read(self.chunks[0], dtype)
        joined = torch.empty(self.shape, dtype=dtype)
        filled = torch.zeros(self.shape, dtype=torch.bool)  # as many elements are not yet each element once
        for chunk in self.chunks:
            place = tuple(slice(offset, offset + size) for offset, size in zip(chunk.offsets, chunk.sizes, strict=True))
            joined[place] = self._read(chunk, dtype)
            filled[place] = True
        if not bool(filled.all()):
            raise NotLoadableError("the parts of a tensor overlap; the file is damaged, save or copy it again")
        return joined

    def _read(self, chunk: Chunk, dtype: torch.dtype) -> torch.Tensor:
        held = chunk.tensor()
        if held.dtype != dtype or tuple(held.shape) != tuple(chunk.sizes):
            raise NotLoadableError(
                "a part of a tensor is not of the type and size that .metadata says; the files are not of one save"
            )
        return held
