"""Safetensors: a header in JSON and the bytes of the tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collapsecheck.checkpoints.formats import CheckpointFormat
from collapsecheck.errors import NotLoadableError, printable

_LARGEST_HEADER = 100_000_000  # the limit of the library


class SafetensorsFile(CheckpointFormat):
    """A file of the safetensors library; the format can hold nothing but tensors and short notes."""

    def recognises(self, head: bytes, path: Path) -> bool:  # noqa: ARG002
        """Length of the header, little-endian, then the header, which is JSON.

        A header of 640 bytes begins `80 02`, like a pickle: only the brace tells them apart.
        """
        return 2 <= int.from_bytes(head[:8], "little") <= _LARGEST_HEADER and head[8:9] == b"{"

    def read(self, path: Path) -> Mapping[Any, Any]:
        """Return the tensors by name."""
        with _opened(path) as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a mapping

    def metadata(self, path: Path) -> Mapping[str, str]:
        """Return the notes in the header."""
        with _opened(path) as file:
            return dict(file.metadata() or {})


def _opened(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(str(path), framework="pt", device="cpu")
    except SafetensorError as error:
        raise NotLoadableError(
            f"{printable(str(path))}: truncated or damaged safetensors file ({printable(str(error))}); "
            "copy or download it again"
        ) from error
