"""What torch 0.1 wrote: a tar archive."""

from __future__ import annotations

from pathlib import Path

from collapsecheck.checkpoints.formats import CheckpointFormat, Contents
from collapsecheck.checkpoints.pickled_root import as_root
from collapsecheck.checkpoints.tar_archive import is_tar
from collapsecheck.checkpoints.tar_checkpoint import is_torch_tar, read_tar


class TorchTar(CheckpointFormat):
    """The format of torch.save in torch 0.1, of 2017; PyTorch itself opens it only as code, here it is data."""

    def recognises(self, head: bytes, path: Path) -> bool:
        """A tar archive with the members `storages`, `tensors` and `pickle`."""
        return is_tar(head) and is_torch_tar(path)

    def read(self, path: Path) -> Contents:
        """Read the pickles without running them; the tensors stay in the file."""
        content, notes = read_tar(path)
        return Contents(content=as_root(content), notes=notes, files=(path,))
