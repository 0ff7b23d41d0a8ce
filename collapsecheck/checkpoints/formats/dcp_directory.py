"""What torch.distributed.checkpoint writes: a directory with one file for each rank, and where to find what."""

from __future__ import annotations

from pathlib import Path

from collapsecheck.checkpoints.dcp import joined_tensors, nested, other_values
from collapsecheck.checkpoints.dcp_metadata import read_metadata
from collapsecheck.checkpoints.directories import kind_of_directory
from collapsecheck.checkpoints.formats import CheckpointFormat, Contents
from collapsecheck.errors import NotLoadableError


class DcpDirectory(CheckpointFormat):
    """A directory with `.metadata` and `*.distcp`, as FSDP and other distributed runs save.

    PyTorch opens `.metadata` as a pickle without restriction; here only the library's own records are read from it.
    """

    def recognises(self, head: bytes, path: Path) -> bool:  # noqa: ARG002
        """By the names in it."""
        return kind_of_directory(path) == "dcp"

    def read(self, path: Path) -> Contents:
        """Return what was saved, nested as it was; a tensor in parts is joined when it is asked for."""
        metadata = read_metadata(path)
        tensors = joined_tensors(metadata)
        if not tensors:
            raise NotLoadableError("the checkpoint holds no tensors; give the one with the weights")
        values, notes = other_values(metadata)
        files = sorted({place.file for place in metadata.places.values()})
        return Contents(
            content=nested({**tensors, **values}, metadata.paths),
            notes=notes,
            files=(path / ".metadata", *files),
        )
