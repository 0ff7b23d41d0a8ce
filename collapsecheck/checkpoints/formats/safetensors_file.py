"""Safetensors: a header in JSON and the bytes of the tensors."""

from __future__ import annotations

from pathlib import Path

from collapsecheck.checkpoints.formats import CheckpointFormat, Contents
from collapsecheck.checkpoints.safetensors_reader import read_safetensors

_LARGEST_HEADER = 100_000_000  # the limit of the library


class SafetensorsFile(CheckpointFormat):
    """A file of the safetensors library; the format can hold nothing but tensors and short notes."""

    def recognises(self, head: bytes, path: Path) -> bool:  # noqa: ARG002
        """Length of the header, little-endian, then the header, which is JSON.

        A header of 640 bytes begins `80 02`, like a pickle: only the brace tells them apart.
        """
        return 2 <= int.from_bytes(head[:8], "little") <= _LARGEST_HEADER and head[8:9] == b"{"

    def read(self, path: Path) -> Contents:
        """Return the tensors by name, and the notes in the header."""
        tensors, notes = read_safetensors(path)
        return Contents(content=tensors, metadata=notes, files=(path,))
