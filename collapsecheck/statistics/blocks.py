"""Moments kept apart by random blocks of rows, so that every statistic gets a jackknife interval."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collapsecheck.statistics.moments import Moments, parts_in_cache
from collapsecheck.statistics.sketch import CountSketch

BLOCKS = 16

# Blocks are kept over at most this many coordinates; wider rows are folded by a count sketch for the blocks
# (intervals only), while their totals stay exact. Keeps the memory at O(D²) + 16·512².
BLOCK_WIDTH = 512


@dataclass(slots=True)
class BlockedMoments:
    """Sums over all rows, and over each of 16 random blocks of them.

    Rows of up to 512 dimensions are summed once, by block, and the total is the sum over the blocks.
    """

    dimension: int
    blocks: list[Moments] = field(default_factory=list)
    whole: Moments | None = None  # only for rows wider than BLOCK_WIDTH
    sketch: CountSketch = field(init=False)
    signs: Any = None  # the signs of the sketch, on the device of the rows

    def __post_init__(self) -> None:
        self.sketch = CountSketch.of(self.dimension, BLOCK_WIDTH)

    def add(self, rows: Any, block: int) -> None:
        """Take rows [m, D] (float64, all on one device) into one block; their memory is used."""
        for part in parts_in_cache(rows):
            self.shift(rows[part], block)
        self.multiply(rows, block)

    def shift(self, rows: Any, block: int) -> None:
        """First half of `add`, for rows that are in the cache: see `Moments.shift`."""
        if not len(rows):
            return
        if not self.blocks:
            self._start(rows.mean(0))
        if self.whole is None:
            self.blocks[block].shift(rows)

    def multiply(self, rows: Any, block: int) -> None:
        """Second half of `add`, for all rows that were shifted."""
        if not len(rows):
            return
        if self.whole is None:
            self.blocks[block].multiply(rows)
            return
        self.blocks[block].add(self.sketch(rows, self.signs))
        self.whole.add(rows)

    def _start(self, pivot: Any) -> None:
        if not self.sketch.identity:
            self.whole = Moments.about(pivot)
            self.signs = self.sketch.signs
            if not isinstance(pivot, np.ndarray):
                self.signs = pivot.new_tensor(self.signs)
            pivot = self.sketch(pivot[None, :], self.signs)[0]
        self.blocks = [Moments.about(pivot) for _ in range(BLOCKS)]

    def on_host(self) -> BlockedMoments:
        """The same sums as numpy arrays."""
        whole = None if self.whole is None else self.whole.on_host()
        return BlockedMoments(self.dimension, [block.on_host() for block in self.blocks], whole)

    @property
    def hosted(self) -> bool:
        """Whether there are sums, and they are numpy arrays."""
        return bool(self.blocks) and isinstance(self.blocks[0].pivot, np.ndarray)

    def merge(self, other: BlockedMoments) -> None:
        """Take in the rows of another shard, block by block; both on the host."""
        if not other.blocks:
            return
        other = other.on_host()  # sums of its own, which may be added to
        if not self.blocks:
            self.blocks, self.whole = other.blocks, other.whole
            return
        self.blocks = [mine.plus(theirs) for mine, theirs in zip(self.blocks, other.blocks, strict=True)]
        if self.whole is not None and other.whole is not None:
            self.whole = self.whole.plus(other.whole)

    @property
    def total(self) -> Moments:
        """Sums over all rows, exact in every dimension."""
        return self._sum() if self.whole is None else self.whole

    def _sum(self) -> Moments:
        if not self.blocks:
            return Moments.about(np.zeros(self.dimension))
        total = self.blocks[0]
        for block in self.blocks[1:]:
            total = total.plus(block)
        return total

    @property
    def folded(self) -> Moments:
        """Sums over all rows in the coordinates of the blocks: equal to `total` up to 512 dimensions."""
        return self._sum()

    def left_out(self) -> list[Moments]:
        """Sums over all rows but those of one block, for each of the 16 blocks (none before the first row)."""
        folded = self.folded
        return [folded.minus(block) for block in self.blocks]


def blocks_of(block_ids: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Positions of the rows of each block, in their order."""
    order = np.argsort(block_ids, kind="stable")
    return np.split(order, np.cumsum(np.bincount(block_ids, minlength=BLOCKS))[:-1])
