"""Rows that are read one by one, each of which may fail on its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from collapsecheck.datasets.kinds import Rows, UnreadableItemError

PROBED = 64  # items that are tried before the data is given up


def plain(array: NDArray[Any]) -> NDArray[Any]:
    """Bring NumPy's many number types to those that torch can use: bool, uint8, int64, float32."""
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    return array.astype(np.int64, copy=False) if array.dtype.kind in "iu" and array.dtype != np.uint8 else array


class SingleRows(Rows):
    """Rows that are read one by one; the first that can be read decides on shape and type of all."""

    slow_to_read: ClassVar[bool] = True

    @abstractmethod
    def array(self, item: int) -> NDArray[Any]:
        """Return one item.

        Raises
        ------
        UnreadableItemError
            With the reason.
        """

    def probe(self, count: int) -> None:
        """Find shape and type; where nothing can be read, reading will say why."""
        self.item_shape, self.dtype = (1,), torch.float32
        for item in range(min(count, PROBED)):
            try:
                row = _number_row(self.array(item))
            except UnreadableItemError:
                continue
            self.item_shape, self.dtype = tuple(row.shape), row.dtype
            return

    def rows(self, items: Sequence[int]) -> torch.Tensor:
        """Read these items."""
        return torch.stack(list(self._read(items)))

    def _read(self, items: Iterable[int]) -> Iterable[torch.Tensor]:
        for item in items:
            row = _number_row(self.array(item))
            if tuple(row.shape) != self.item_shape:
                raise UnreadableItemError(f"has the shape {list(row.shape)}, others have {list(self.item_shape)}")
            yield row if row.dtype == self.dtype else row.to(self.dtype)


def _number_row(array: NDArray[Any]) -> torch.Tensor:
    if array.dtype.kind not in "biuf":
        raise UnreadableItemError(f"items must be numbers, not {array.dtype}")
    if array.size == 0:
        raise UnreadableItemError(f"is empty: its shape is {list(array.shape)}")
    row = plain(array)
    row = row[None] if row.ndim == 0 else row
    return torch.from_numpy(np.array(row, order="C"))  # of its own, writable memory and in native byte order
