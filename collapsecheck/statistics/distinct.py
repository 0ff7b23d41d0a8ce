"""How many distinct rows, and distinct values per dimension, there are: exact up to a capacity, bounded memory.

Both keep the smallest hashes seen ("bottom-k", Beyer et al. 2007): below the capacity k that is the exact set,
above it a uniform sample of the distinct items. The result does not depend on order, batches or shards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collapsecheck.statistics.hashing import Hashes


@dataclass(slots=True)
class DistinctRows:
    """Distinct rows with their multiplicities, by 64-bit hashes.

    A kept hash has been kept since it first came, so its count is exact. `count` is exact while no more than
    `capacity` distinct rows were seen, and whenever no row repeats. Hashes wait until there are enough of them to be
    worth a sort.
    """

    capacity: int = 65_536
    seen: int = 0
    held: Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))
    held_counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    waiting: list[tuple[Hashes, NDArray[np.int64]]] = field(default_factory=list)
    waiting_count: int = 0

    def add(self, hashes: Hashes, counts: NDArray[np.int64] | None = None) -> None:
        """Take in the hashes [m] of rows, each standing for `counts` rows (default 1)."""
        counts = np.ones(len(hashes), np.int64) if counts is None else counts
        self.seen += int(counts.sum())
        if len(self.held) >= self.capacity:
            candidates = hashes <= self.held[-1]
            hashes, counts = hashes[candidates], counts[candidates]
        self.waiting.append((hashes, counts))
        self.waiting_count += len(hashes)
        if self.waiting_count >= self.capacity // 4:
            self._absorb()

    def _absorb(self) -> None:
        if not self.waiting_count:
            return
        hashes, counts = (np.concatenate(parts) for parts in zip(*self.waiting, strict=True))
        self.waiting, self.waiting_count = [], 0
        merged, inverse = np.unique(np.concatenate([self.held, hashes]), return_inverse=True)
        totals = np.bincount(inverse, np.concatenate([self.held_counts, counts]), len(merged)).astype(np.int64)
        self.held, self.held_counts = merged[: self.capacity], totals[: self.capacity]

    def merge(self, other: DistinctRows) -> None:
        """Take in the rows another counter has seen."""
        seen = self.seen + other.seen
        self.add(other.hashes, other.counts)
        self.seen = seen

    @property
    def hashes(self) -> Hashes:
        """The smallest hashes of the distinct rows, ascending."""
        self._absorb()
        return self.held

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many rows have each of these hashes."""
        self._absorb()
        return self.held_counts

    @property
    def count(self) -> float:
        """Number of distinct rows, in [0, seen]; an estimate once the capacity is exceeded."""
        if self.exact:
            return float(len(self.hashes))
        return self.seen / float(self.counts.mean())

    @property
    def exact(self) -> bool:
        """Whether `count` is exact."""
        return len(self.hashes) < self.capacity


@dataclass(slots=True)
class DistinctValues:
    """Distinct values in each of D dimensions, by 32-bit hashes; exact up to `capacity - 1` per dimension."""

    dimension: int
    capacity: int = 256
    held: NDArray[np.uint32] = field(init=False)  # [D, capacity], ascending, padded with EMPTY
    least: NDArray[np.uint32] = field(init=False)  # [D]
    reach: NDArray[np.uint32] = field(init=False)  # [D]
    waiting: list[tuple[NDArray[np.intp], NDArray[np.uint32]]] = field(default_factory=list)
    waiting_count: int = 0

    EMPTY = np.uint32(0xFFFFFFFF)

    def __post_init__(self) -> None:
        self.held = np.full((self.dimension, self.capacity), self.EMPTY, np.uint32)
        self._aim()

    def add(self, hashes: Any) -> None:
        """Take in the hashes [m, D] of values: uint32, or a tensor of int64 on any device.

        Those that may belong to the smallest of their dimension (after the first rows hardly any) wait until there are
        enough of them to be worth a sort.
        """
        if isinstance(hashes, np.ndarray):
            places = np.flatnonzero(hashes - self.least <= self.reach)
            values = hashes.reshape(-1)[places]
        else:
            least, reach = (hashes.new_tensor(one.astype(np.int64)) for one in (self.least, self.reach))
            near = (((hashes - least) & int(self.EMPTY)) <= reach).reshape(-1).nonzero()[:, 0]
            places, values = near.cpu().numpy(), hashes.reshape(-1)[near].cpu().numpy().astype(np.uint32)
        self.waiting.append((places % self.dimension, values))
        self.waiting_count += len(places)
        if self.waiting_count >= self.held.size:
            self._absorb_waiting()

    def _absorb_waiting(self) -> None:
        if not self.waiting_count:
            return
        columns, values = (np.concatenate(parts) for parts in zip(*self.waiting, strict=True))
        self.waiting, self.waiting_count = [], 0
        values = np.minimum(values, self.EMPTY - np.uint32(1))
        # Two bytes are sorted by their digits, in a tenth of the time.
        order = np.argsort(columns.astype(np.uint16) if self.dimension <= 2**16 else columns, kind="stable")
        columns, values = columns[order], values[order]
        dimensions, starts, counts = np.unique(columns, return_index=True, return_counts=True)
        for some in np.array_split(np.arange(len(dimensions)), -(-len(dimensions) // 64)):  # bounded memory
            fresh = np.full((len(some), counts[some].max()), self.EMPTY, np.uint32)
            within = np.arange(fresh.shape[1]) < counts[some, None]
            fresh[within] = values[starts[some[0]] : starts[some[-1]] + counts[some[-1]]]
            self._absorb(dimensions[some], fresh)

    def _absorb(self, dimensions: NDArray[np.intp], fresh: NDArray[np.uint32]) -> None:
        """Put fresh hashes [len(dimensions), m] beside the held ones and keep the smallest, each once."""
        pool = np.sort(np.concatenate([self.held[dimensions], fresh], axis=1), axis=1)
        repeated = np.zeros(pool.shape, bool)
        repeated[:, 1:] = pool[:, 1:] == pool[:, :-1]
        pool[repeated] = self.EMPTY
        pool.sort(axis=1)
        self.held[dimensions] = pool[:, : self.capacity]
        self._aim()

    def _aim(self) -> None:
        """Note which hashes are of interest from now on: `least` … `least + reach`, which wraps around.

        That is those below the largest that is held, or all of them where there is room. Rectified units give 0 again
        and again, whose hash is 0: once held it is of no interest.
        """
        largest = self.held[:, -1]
        self.least = (self.held[:, 0] == 0).astype(np.uint32)
        self.reach = np.where(largest == self.EMPTY, largest, largest - np.uint32(1)) - self.least

    def merge(self, other: DistinctValues) -> None:
        """Take in the values another counter has seen."""
        self._absorb_waiting()
        self._absorb(np.arange(self.dimension), other.kept)

    @property
    def kept(self) -> NDArray[np.uint32]:
        """The smallest hashes of each dimension [D, capacity], ascending, padded with EMPTY."""
        self._absorb_waiting()
        return self.held

    @property
    def counts(self) -> NDArray[np.float64]:
        """Distinct values per dimension [D]; an estimate (± 1/√capacity) from `capacity` on."""
        kept = self.kept
        filled = (kept != self.EMPTY).sum(1)
        largest = kept[:, -1].astype(np.float64) + 1
        estimate = (self.capacity - 1) * 2.0**32 / largest
        return np.where(filled < self.capacity, filled.astype(np.float64), estimate)
