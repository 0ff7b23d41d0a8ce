"""What torch.save wrote before torch 1.6: several pickles in a row."""

from __future__ import annotations

from pathlib import Path

from collapsecheck.checkpoints.formats import CheckpointFormat, Contents
from collapsecheck.checkpoints.weights_only import load_weights_only

_MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")  # the number 0x1950a86a20f9469cfc6c as a pickle


class TorchLegacy(CheckpointFormat):
    """The format of torch.save before torch 1.6, or with `_use_new_zipfile_serialization=False`."""

    def recognises(self, head: bytes, path: Path) -> bool:  # noqa: ARG002
        """Begins with torch's magic number, pickled."""
        return head.startswith(_MAGIC)

    def read(self, path: Path) -> Contents:
        """Load with the weights-only unpickler; the format cannot be mapped into memory."""
        return Contents(content=load_weights_only(path, mapped=False), files=(path,))
