"""Folds long rows into few coordinates while keeping inner products in expectation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collapsecheck.statistics.hashing import priorities


@dataclass(slots=True)
class CountSketch:
    """Random signs, then sums of the coordinates that share a remainder modulo `width`.

    The count sketch of Charikar, Chen & Farach-Colton (2002): ⟨Sx, Sy⟩ has mean ⟨x, y⟩ and a relative
    deviation of about √(2/width). Costs one multiplication and one addition per value. Rows no longer than
    `width` pass unchanged.
    """

    dimension: int
    width: int
    signs: NDArray[np.float64]

    @classmethod
    def of(cls, dimension: int, width: int) -> CountSketch:
        """The sketch for rows of `dimension` values: always the same one, so that shards agree."""
        bits = priorities(np.arange(dimension), seed=dimension) >> np.uint64(63)
        return cls(dimension, min(width, dimension), np.where(bits.astype(bool), 1.0, -1.0))

    @property
    def identity(self) -> bool:
        """Whether rows pass unchanged."""
        return self.width == self.dimension

    def __call__(self, rows: Any, signs: Any = None) -> Any:
        """Rows [n, dimension] -> [n, width]; numpy rows, or tensors with `signs` on their device."""
        if self.identity:
            return rows
        whole = self.dimension // self.width * self.width
        signed = rows * (self.signs if signs is None else signs)
        folded = signed[:, :whole].reshape(len(rows), -1, self.width).sum(1)
        folded[:, : self.dimension - whole] += signed[:, whole:]
        return folded
