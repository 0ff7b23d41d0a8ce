"""A pickle in a zip archive, read inertly, with its tensors where they lie in that archive."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from collapsecheck.checkpoints.formats import SafetyNote
from collapsecheck.checkpoints.inert import LARGEST_PICKLE, Storage, run, settle, storage_of
from collapsecheck.checkpoints.zip_archive import Archive


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedPickle:
    """The value of a pickle, the names in it, and what its user should know."""

    value: Any
    names: tuple[str, ...]
    notes: tuple[SafetyNote, ...]


def read_archived(archive: Archive, member: str, folder: str, own: str | None = None) -> ArchivedPickle:
    """Read a member as a pickle; its storages are the members of `folder`, by number.

    No note is made of classes whose names begin with `own`.

    Raises
    ------
    NotLoadableError
        If it is damaged or hostile, or a tensor is not what it declares.
    """

    def locate(storage: Storage) -> tuple[int, int]:
        return archive.span(f"{folder}/{storage.key}")

    outcome = run(archive.content(member, limit=LARGEST_PICKLE), persistent=storage_of)
    foreign = tuple(name for name in outcome.names if own is None or not name.startswith(own))
    value, notes = settle(
        replace(outcome, names=foreign), file=archive.path, locate=locate, big_endian=is_big_endian(archive)
    )
    return ArchivedPickle(value=value, names=outcome.names, notes=notes)


def is_big_endian(archive: Archive) -> bool:
    """Whether the numbers of the archive's tensors are, which it says in a member of its own."""
    return "byteorder" in archive.members and archive.content("byteorder", limit=16) == b"big"
