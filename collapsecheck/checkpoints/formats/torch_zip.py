"""What torch.save writes: a zip file of one pickle and one member for each storage."""

from __future__ import annotations

from pathlib import Path

from collapsecheck.checkpoints.archived_pickle import read_archived
from collapsecheck.checkpoints.foreign import RESAVE
from collapsecheck.checkpoints.formats import CheckpointFormat, Contents
from collapsecheck.checkpoints.pickled_root import as_root
from collapsecheck.checkpoints.zip_archive import Archive, kind_of_zip, open_archive
from collapsecheck.errors import NotLoadableError, printable


class TorchZip(CheckpointFormat):
    """A zip file that torch.save wrote; its members are looked at first, then its pickle is read as data."""

    def recognises(self, head: bytes, path: Path) -> bool:
        """A zip file that begins at the first byte and has a pickle, but no code.

        Python finds a zip file behind other bytes too, torch does not: two readers that disagree are how a
        check gets bypassed.
        """
        return head.startswith(b"PK") and kind_of_zip(path) == "torch"

    def read(self, path: Path) -> Contents:
        """Check the members, then read the pickle without running it; the tensors stay in the file."""
        archive = open_archive(path)
        _check(archive)
        pickled = read_archived(archive, "data.pkl", "data")
        return Contents(content=as_root(pickled.value), notes=pickled.notes, files=(path,))


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
