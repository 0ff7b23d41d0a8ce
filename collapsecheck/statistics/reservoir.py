"""A uniform sample of bounded size that does not depend on order, batch size or shards."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from collapsecheck.statistics.hashing import Hashes


@dataclass(slots=True)
class Reservoir:
    """Keeps the items with the `capacity` smallest priorities (bottom-k sampling, Cohen & Kaplan 2007).

    Priorities come from `hashing.priorities`: one pseudo-random number per item number and seed. Any number of
    named columns, each an array over items, is carried along.
    """

    capacity: int
    priorities: Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))
    columns: dict[str, NDArray[np.generic]] = field(default_factory=dict)

    def offer(self, priorities: Hashes, **columns: NDArray[np.generic]) -> None:
        """Offer items: priorities [m] and columns [m, ...]; the same columns on every call."""
        if len(self.priorities) == self.capacity:
            chosen = np.flatnonzero(priorities < self.priorities[-1])
            priorities, columns = priorities[chosen], {k: v[chosen] for k, v in columns.items()}
        if not len(priorities):
            return
        if self.columns:
            priorities = np.concatenate([self.priorities, priorities])
            columns = {k: np.concatenate([self.columns[k], v]) for k, v in columns.items()}
        order = np.argsort(priorities, kind="stable")[: self.capacity]
        self.priorities = priorities[order]
        self.columns = {k: v[order] for k, v in columns.items()}

    def wanted(self, priorities: Hashes) -> NDArray[np.intp]:
        """Positions of the items that may enter: all others can be dropped before they are looked at."""
        if len(self.priorities) == self.capacity:
            return np.flatnonzero(priorities < self.priorities[-1])
        if len(priorities) <= self.capacity:
            return np.arange(len(priorities))
        return np.sort(np.argpartition(priorities, self.capacity)[: self.capacity])

    def merge(self, other: Reservoir) -> None:
        """Offer everything another reservoir holds."""
        if len(other.priorities):
            self.offer(other.priorities, **other.columns)

    def __len__(self) -> int:
        return len(self.priorities)

    def __getitem__(self, column: str) -> NDArray[np.generic]:
        return self.columns[column]
