"""Whatever torch.save wrote, be it weights or not: a tensor alone, a pair, a dict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collapsecheck.checkpoints.archived_pickle import ArchivedPickle, read_archived
from collapsecheck.checkpoints.foreign import RESAVE, describe_file
from collapsecheck.checkpoints.formats import SafetyNote
from collapsecheck.checkpoints.legacy_file import is_legacy, read_legacy
from collapsecheck.checkpoints.zip_archive import Archive, kind_of_zip, open_archive
from collapsecheck.errors import NotLoadableError, printable

_HEAD = 512


def read_saved(path: Path) -> tuple[Any, tuple[SafetyNote, ...]]:
    """Return what a file of torch.save holds, of either format; its tensors stay in the file.

    Raises
    ------
    NotLoadableError
        If it is none, damaged or hostile.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if is_legacy(head):
        return read_legacy(path)
    if not head.startswith(b"PK") or kind_of_zip(path) != "torch":
        raise NotLoadableError(describe_file(head, path))
    pickled = read_saved_zip(path)
    return pickled.value, pickled.notes


def read_saved_zip(path: Path) -> ArchivedPickle:
    """Return what a zip file of torch.save holds.

    Raises
    ------
    NotLoadableError
        If torch.save could not have written it, or it is damaged or hostile.
    """
    archive = open_archive(path)
    _check(archive)
    return read_archived(archive, "data.pkl", "data")


def _check(archive: Archive) -> None:
    """Refuse what torch.save could not have written."""
    pickles = [name for name in archive.members if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) > 1:
        raise NotLoadableError(f"the zip file holds more than one data.pkl; {RESAVE}")
    if not archive.root or pickles != ["data.pkl"]:
        raise NotLoadableError(
            f"the zip file holds {printable(archive.root + pickles[0])}, expected all members in one folder, as "
            "torch.save writes them; pack the archive again with that folder"
        )
    for name, member in archive.members.items():
        if member.compressed:  # a bomb of 1 MB inflates to 1 GB
            raise NotLoadableError(
                f"the member {printable(archive.root + name)} is compressed, which torch.save never does "
                f"(compressed-tensor); {RESAVE}"
            )
