"""One file of weights inside a directory, whatever wrote it: recognised by its bytes, as everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from collapsecheck.checkpoints.formats import CheckpointFormat, Contents
from collapsecheck.checkpoints.json_reader import regular_file
from collapsecheck.errors import NotLoadableError

_HEAD = 512


def read_weight_file(path: Path) -> Contents:
    """Read a file of safetensors or of torch.save; the content is a mapping.

    Raises
    ------
    NotLoadableError
        If it is neither, or damaged, or holds something else than a mapping.
    """
    from collapsecheck.checkpoints.formats.safetensors_file import SafetensorsFile
    from collapsecheck.checkpoints.formats.torch_legacy import TorchLegacy
    from collapsecheck.checkpoints.formats.torch_zip import TorchZip

    with regular_file(path).open("rb") as file:
        head = file.read(_HEAD)
    readers: tuple[type[CheckpointFormat], ...] = (SafetensorsFile, TorchZip, TorchLegacy)
    for reader in readers:
        if reader().recognises(head, path):
            contents = reader().read(path)
            if not isinstance(contents.content, Mapping):
                raise NotLoadableError("holds a whole model, expected a state dict; download the weights again")
            return contents
    from collapsecheck.checkpoints.foreign import describe_file

    raise NotLoadableError(describe_file(head, path))
