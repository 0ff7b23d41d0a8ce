"""What torch.save wrote before torch 1.6: several pickles in a row, and the storages."""

from __future__ import annotations

from pathlib import Path

from collapsecheck.checkpoints.formats import CheckpointFormat, Contents
from collapsecheck.checkpoints.legacy_file import is_legacy, read_legacy
from collapsecheck.checkpoints.pickled_root import as_root


class TorchLegacy(CheckpointFormat):
    """The format of torch.save before torch 1.6, or with `_use_new_zipfile_serialization=False`."""

    def recognises(self, head: bytes, path: Path) -> bool:  # noqa: ARG002
        """Begins with torch's magic number, pickled."""
        return is_legacy(head)

    def read(self, path: Path) -> Contents:
        """Read the pickles without running them; the tensors stay in the file."""
        content, notes = read_legacy(path)
        return Contents(content=as_root(content), notes=notes, files=(path,))
