"""What torch.save writes: a zip file of one pickle and one member for each storage."""

from __future__ import annotations

from pathlib import Path

from collapsecheck.checkpoints.formats import CheckpointFormat, Contents
from collapsecheck.checkpoints.pickled_root import as_root
from collapsecheck.checkpoints.saved import read_saved_zip
from collapsecheck.checkpoints.zip_archive import kind_of_zip


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
        pickled = read_saved_zip(path)
        return Contents(content=as_root(pickled.value), notes=pickled.notes, files=(path,))
