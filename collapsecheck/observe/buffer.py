"""Collects the rows of small batches until there are enough for matrix products worth the name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class RowBuffer:
    """Room for `capacity` rows in one array (or tensor, on the device of the rows), allocated once.

    Copies: whoever delivers rows may use their memory again. `labels` are −1 where none were given.
    """

    capacity: int
    count: int = 0
    rows: Any = None
    indices: NDArray[np.int64] = field(init=False)
    labels: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.indices = np.empty(self.capacity, np.int64)
        self.labels = np.empty(self.capacity, np.int64)

    @property
    def full(self) -> bool:
        """Whether nothing more fits."""
        return self.count == self.capacity

    def fits(self, rows: Any) -> bool:
        """Whether rows of this type, precision and device can be put beside those that are held."""
        return self.rows is not None and type(self.rows) is type(rows) and _place(self.rows) == _place(rows)

    def put(self, rows: Any, indices: NDArray[np.int64], labels: NDArray[np.int64] | None) -> int:
        """Take as many of the rows [m, D] as there is room for; returns their number."""
        if not self.count and not self.fits(rows):
            shape = (self.capacity, rows.shape[1])
            self.rows = np.empty(shape, rows.dtype) if isinstance(rows, np.ndarray) else rows.new_empty(shape)
        taken = min(len(rows), self.capacity - self.count)
        room = slice(self.count, self.count + taken)
        self.rows[room] = rows[:taken] if isinstance(rows, np.ndarray) else rows[:taken].detach()
        self.indices[room] = indices[:taken]
        self.labels[room] = -1 if labels is None else labels[:taken]
        self.count += taken
        return taken

    def empty(self) -> tuple[Any, NDArray[np.int64], NDArray[np.int64]]:
        """Rows, item numbers and labels held, as views that the next `put` overwrites."""
        held = slice(0, self.count)
        self.count = 0
        return self.rows[held], self.indices[held], self.labels[held]


def _place(rows: Any) -> tuple[Any, Any]:
    return rows.dtype, getattr(rows, "device", None)
