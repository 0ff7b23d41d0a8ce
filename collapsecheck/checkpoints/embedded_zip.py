"""A zip file inside of a larger file: a tensor that torch.save wrote into the middle of something else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from collapsecheck.checkpoints.archived_pickle import read_archived
from collapsecheck.checkpoints.formats import SafetyNote
from collapsecheck.checkpoints.zip_archive import Archive
from collapsecheck.checkpoints.zip_directory import DAMAGED, read_directory
from collapsecheck.errors import NotLoadableError


def open_embedded(path: Path, offset: int, length: int) -> Archive:
    """Read the directory of the zip file that fills `length` bytes of a file from `offset` on.

    The offsets of its members are those in the larger file, so that their bytes are found there.

    Raises
    ------
    NotLoadableError
        If it does not lie within the file, is damaged, or could be read in two ways.
    """
    if offset < 0 or length < 0 or offset + length > path.stat().st_size:
        raise NotLoadableError(DAMAGED)
    with path.open("rb") as file:
        members = read_directory(cast(BinaryIO, _Part(file, offset, length)), length)
    roots = {name.partition("/")[0] for name in members}
    root = f"{roots.pop()}/" if len(roots) == 1 and all("/" in name for name in members) else ""
    return Archive(
        path=path,
        root=root,
        members={name[len(root) :]: replace(member, offset=offset + member.offset) for name, member in members.items()},
    )


def embedded_value(path: Path, offset: int, length: int) -> tuple[Any, tuple[SafetyNote, ...]]:
    """Return what torch.save wrote into the middle of a file, and what its user should know.

    Raises
    ------
    NotLoadableError
        If it is damaged or hostile.
    """
    found = read_archived(open_embedded(path, offset, length), "data.pkl", "data")
    return found.value, found.notes


class _Part:
    """A part of a file that reads like a file of its own."""

    def __init__(self, file: BinaryIO, offset: int, length: int) -> None:
        self._file, self._offset, self._length = file, offset, length
        self._at = 0

    def seek(self, position: int) -> int:
        self._at = min(max(position, 0), self._length)
        return self._at

    def read(self, count: int) -> bytes:
        self._file.seek(self._offset + self._at)
        held = self._file.read(max(0, min(count, self._length - self._at)))
        self._at += len(held)
        return held
