"""Safetensors in several files, with an index that says which tensor is in which."""

from __future__ import annotations

from pathlib import Path

from collapsecheck.checkpoints.directories import INDEX, kind_of_directory
from collapsecheck.checkpoints.formats import CheckpointFormat, Contents
from collapsecheck.checkpoints.shards import is_index, read_index, read_shards
from collapsecheck.checkpoints.weight_files import read_weight_file
from collapsecheck.errors import NotLoadableError, printable


class SafetensorsSharded(CheckpointFormat):
    """A directory of safetensors files with their index `*.safetensors.index.json`, or that index itself.

    Given itself, the index may be one of pickled shards (`pytorch_model.bin.index.json`) too.
    """

    def recognises(self, head: bytes, path: Path) -> bool:
        """An index by its `weight_map`, a directory by the index in it."""
        return kind_of_directory(path) == "safetensors-sharded" or (bool(head) and is_index(head, path))

    def read(self, path: Path) -> Contents:
        """Return the tensors of all shards by name, and the notes in the index."""
        if path.is_dir():
            found = sorted(entry for entry in path.iterdir() if entry.name.endswith(INDEX))
            if len(found) > 1:
                names = ", ".join(printable(entry.name, 60) for entry in found[:5])
                raise NotLoadableError(f"the directory holds {len(found)} models ({names}); give one of these files")
            path = found[0]
        return read_shards(read_index(path), read_weight_file)
