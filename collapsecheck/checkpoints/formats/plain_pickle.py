"""A pickle that torch.save did not write: dicts of arrays, as `pickle.dump` leaves them."""

from __future__ import annotations

import mmap
from pathlib import Path

from collapsecheck.checkpoints.formats import CheckpointFormat, Contents
from collapsecheck.checkpoints.inert import read_pickle
from collapsecheck.checkpoints.legacy_file import is_legacy, storage_within
from collapsecheck.checkpoints.pickled_root import as_root, holds_tensors
from collapsecheck.errors import NotLoadableError

_PROTOCOLS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_LARGEST = 4 << 30  # bytes; here the numbers are in the pickle itself


class PlainPickle(CheckpointFormat):
    """A bare pickle, read as data: arrays of NumPy, and tensors that were pickled without torch.save."""

    def recognises(self, head: bytes, path: Path) -> bool:  # noqa: ARG002
        """Begins with a protocol from 2 on, but is neither torch's nor safetensors.

        Safetensors with a header of 640 bytes begin like a pickle too; there, the header is JSON.
        """
        is_safetensors = head[4:9] == bytes(4) + b"{"
        return head.startswith(_PROTOCOLS) and not is_safetensors and not is_legacy(head)

    def read(self, path: Path) -> Contents:
        """Read the pickle without running it."""
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
            value, notes = read_pickle(held, file=path, embedded=storage_within, largest=_LARGEST)
        content = as_root(value)
        if not holds_tensors(content):
            raise NotLoadableError(
                "a plain Python pickle without arrays or tensors, expected what torch.save writes, or safetensors; "
                "it was read as data, nothing in it was executed; re-save the weights with "
                "torch.save(model.state_dict(), FILE)"
            )
        return Contents(content=content, notes=notes, files=(path,))
