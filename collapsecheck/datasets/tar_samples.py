"""Members of tar shards that share a key, as one sample: the WebDataset convention.

The key is the path up to the first dot of the file's name, the rest is the ending: `a/0001.left.jpg` has the key
`a/0001` and the ending `left.jpg`. Members of a sample follow each other.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collapsecheck.datasets.tar_members import Member, members
from collapsecheck.errors import printable


class TarSamples:
    """The samples of some shards, as a table of members: a million samples must fit into memory.

    Attributes
    ----------
    names
        Key of each sample; with several shards after the shard's name.
    problems
        Why a sample cannot be used, where that is known already.
    endings
        The different endings, in order of appearance.
    sample, ending, shard, offset, size
        One number for each member `[m]`; the samples ascend.
    """

    def __init__(self, shards: Sequence[Path], shown: Sequence[str]) -> None:
        self.names: list[str] = []
        self.problems: dict[int, str] = {}
        self.endings: list[str] = []
        self._columns = {name: array("q") for name in ("sample", "ending", "shard", "offset", "size")}
        self._numbers: dict[str, int] = {}
        for shard, path in enumerate(shards):
            self._take(shard, path, f"{shown[shard]}/" if len(shards) > 1 else "")
        self.sample, self.ending, self.shard, self.offset, self.size = (
            np.frombuffer(column, dtype=np.int64) if len(column) else np.zeros(0, dtype=np.int64)
            for column in self._columns.values()
        )

    def first_with(self, endings: Sequence[str]) -> NDArray[np.int64]:
        """Return the number of each sample's first member with one of these endings, or -1, `[samples]`."""
        wanted = [self._numbers[ending] for ending in endings if ending in self._numbers]
        rows = np.flatnonzero(np.isin(self.ending, wanted))
        found = np.full(len(self.names), -1, dtype=np.int64)
        found[self.sample[rows][::-1]] = rows[::-1]
        return found

    def counts(self) -> dict[str, int]:
        """Return in how many samples each ending occurs."""
        counted = np.bincount(self.ending, minlength=len(self.endings))
        return {ending: int(counted[i]) for i, ending in enumerate(self.endings)}

    def _take(self, shard: int, path: Path, prefix: str) -> None:
        before: set[str] = set()
        held: set[str] = set()
        current: str | None = None
        for member in members(path):
            key, ending = split(member)
            if key is None:
                continue
            if key != current:
                current, held = key, set()
                self.names.append(prefix + key)
                if key in before:
                    self.problems[len(self.names) - 1] = "this key occurs a second time in the tar"
                before.add(key)
            sample = len(self.names) - 1
            if ending in held:
                self.problems.setdefault(sample, f"has two members .{printable(ending)}")
            elif member.problem is not None:
                self.problems.setdefault(sample, member.problem)
            else:
                number = self._numbers.setdefault(ending, len(self.endings))
                if number == len(self.endings):
                    self.endings.append(ending)
                values = (sample, number, shard, member.offset, member.size)
                for column, value in zip(self._columns.values(), values, strict=True):
                    column.append(value)
            held.add(ending)


def split(member: Member) -> tuple[str | None, str]:
    """Return key and ending of a member; no key for what belongs to no sample."""
    folder, slash, name = member.name.rpartition("/")
    stem, dot, ending = name.partition(".")
    if not dot:
        return (member.name, "") if member.problem is not None else (None, "")
    return (folder + slash + stem, ending.lower()) if stem else (None, "")
