"""How many distinct rows, and distinct values per dimension, there are: exact up to a capacity, bounded memory.

Both keep the smallest hashes seen ("bottom-k", Beyer et al. 2007): below the capacity k that is the exact set,
above it a uniform sample of the distinct items. The result does not depend on order, batches or shards.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from collapsecheck.statistics.hashing import Hashes


@dataclass(slots=True)
class DistinctRows:
    """Distinct rows with their multiplicities, by 64-bit hashes.

    A kept hash has been kept since it first came, so its count is exact. `count` is exact while no more than
    `capacity` distinct rows were seen, and whenever no row repeats.
    """

    capacity: int = 65_536
    seen: int = 0
    hashes: Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def add(self, hashes: Hashes, counts: NDArray[np.int64] | None = None) -> None:
        """Take in the hashes [m] of rows, each standing for `counts` rows (default 1)."""
        counts = np.ones(len(hashes), np.int64) if counts is None else counts
        self.seen += int(counts.sum())
        if len(self.hashes) >= self.capacity:
            candidates = hashes <= self.hashes[-1]
            hashes, counts = hashes[candidates], counts[candidates]
        if not len(hashes):
            return
        merged, inverse = np.unique(np.concatenate([self.hashes, hashes]), return_inverse=True)
        totals = np.bincount(inverse, np.concatenate([self.counts, counts]), len(merged)).astype(np.int64)
        self.hashes, self.counts = merged[: self.capacity], totals[: self.capacity]

    def merge(self, other: DistinctRows) -> None:
        """Take in the rows another counter has seen."""
        seen = self.seen + other.seen
        self.add(other.hashes, other.counts)
        self.seen = seen

    @property
    def count(self) -> float:
        """Number of distinct rows, in [0, seen]; an estimate once the capacity is exceeded."""
        if len(self.hashes) < self.capacity:
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
    kept: NDArray[np.uint32] = field(init=False)  # [D, capacity], ascending, padded with EMPTY
    filled: NDArray[np.int64] = field(init=False)  # [D]
    seen: int = 0

    EMPTY = np.uint32(0xFFFFFFFF)

    def __post_init__(self) -> None:
        self.kept = np.full((self.dimension, self.capacity), self.EMPTY, np.uint32)
        self.filled = np.zeros(self.dimension, np.int64)

    def add(self, hashes: NDArray[np.uint32]) -> None:
        """Take in the hashes [m, D] of values."""
        # In portions no longer than what was seen before: each then brings few values that are not yet beaten.
        while len(hashes):
            portion = max(self.seen, 2 * self.capacity)
            self._add(hashes[:portion])
            self.seen += len(hashes[:portion])
            hashes = hashes[portion:]

    def _add(self, hashes: NDArray[np.uint32]) -> None:
        hashes = np.minimum(hashes, self.EMPTY - np.uint32(1))
        full = self.filled == self.capacity
        if not full.all():
            for dimensions in np.array_split(np.flatnonzero(~full), -(-self.dimension // 64)):  # bounded memory
                self._absorb(dimensions, hashes[:, dimensions].T)
        if full.any():
            # A full dimension takes only values below its largest: after the first rows hardly any.
            below = hashes < np.where(full, self.kept[:, -1], np.uint32(0))
            rows, columns = np.divmod(np.flatnonzero(below), self.dimension)
            # Two bytes are sorted by their digits, in a tenth of the time.
            order = np.argsort(columns.astype(np.uint16) if self.dimension <= 2**16 else columns, kind="stable")
            dimensions, counts = np.unique(columns, return_counts=True)
            position = np.arange(len(columns)) - np.repeat(np.cumsum(counts) - counts, counts)
            fresh = np.full((len(dimensions), counts.max(initial=0)), self.EMPTY, np.uint32)
            fresh[np.repeat(np.arange(len(dimensions)), counts), position] = hashes[rows, columns][order]
            self._absorb(dimensions, fresh)

    def _absorb(self, dimensions: NDArray[np.intp], fresh: NDArray[np.uint32]) -> None:
        """Put fresh hashes [len(dimensions), m] beside the kept ones and keep the smallest, each once."""
        pool = np.sort(np.concatenate([self.kept[dimensions], fresh], axis=1), axis=1)
        repeated = np.zeros(pool.shape, bool)
        repeated[:, 1:] = pool[:, 1:] == pool[:, :-1]
        pool[repeated] = self.EMPTY
        pool.sort(axis=1)
        self.kept[dimensions] = pool[:, : self.capacity]
        self.filled[dimensions] = (self.kept[dimensions] != self.EMPTY).sum(1)

    def merge(self, other: DistinctValues) -> None:
        """Take in the values another counter has seen."""
        self._absorb(np.arange(self.dimension), other.kept)
        self.seen += other.seen

    @property
    def counts(self) -> NDArray[np.float64]:
        """Distinct values per dimension [D]; an estimate (± 1/√capacity) from `capacity` on."""
        largest = self.kept[:, -1].astype(np.float64) + 1
        estimate = (self.capacity - 1) * 2.0**32 / largest
        return np.where(self.filled < self.capacity, self.filled.astype(np.float64), estimate)
