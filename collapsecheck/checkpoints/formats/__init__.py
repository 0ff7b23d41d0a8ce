"""Formats of checkpoints: each file of this folder reads one; `CheckpointFormat` is what it must fulfil."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class CheckpointFormat(ABC):
    """One format. The file's name is the format's id."""

    @abstractmethod
    def recognises(self, head: bytes, path: Path) -> bool:
        """Whether a file with these leading bytes is of this format; no two formats may both say yes.

        The file's name must not matter: renamed files are common, and a format that follows the name is a
        way around whoever inspects the bytes.
        """

    @abstractmethod
    def read(self, path: Path) -> Mapping[Any, Any]:
        """Return what the file holds, tensors on the CPU, without running anything that it names.

        Raises
        ------
        NotLoadableError
            If the file is damaged, holds something else than a mapping, or needs code to be run.
        """

    def metadata(self, path: Path) -> Mapping[str, str]:  # noqa: ARG002 - formats without notes need no path
        """Return the notes that the format carries beside the content."""
        return {}
