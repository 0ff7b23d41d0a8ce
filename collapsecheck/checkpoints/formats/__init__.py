"""Formats of checkpoints: each file of this folder reads one; `CheckpointFormat` is what it must fulfil.

Reading is recognition first, by content and never by a file's name, and then reading as data. Formats import
torch nowhere: their tensors stay in the file (`stored.StoredTensor`), so that `inspect` is quick on any size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyNote:
    """Something about a file that its user should know: `id` in kebab-case, one sentence, and the names it is about."""

    id: str
    message: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a file holds.

    `content` is what was saved: mappings, sequences, plain values, `StoredTensor`s, and `records` for the rest; at
    the root a mapping or a `ModuleRecord`. `metadata` are notes that the format carries beside it, such as the
    header of safetensors or the parsed `config.json` of a directory. `files` are all files that were read.
    """

    content: Any
    metadata: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[SafetyNote, ...] = ()
    files: tuple[Path, ...] = ()


class CheckpointFormat(ABC):
    """One format. The file's name is the format's id."""

    #: Whether the model itself is in the file, as code: it runs with `--trust-checkpoint` only.
    runs_code: ClassVar[bool] = False
    #: Whether the file may say beside its weights what the model is: a graph, a configuration.
    describes_model: ClassVar[bool] = False

    @abstractmethod
    def recognises(self, head: bytes, path: Path) -> bool:
        """Whether a file with these leading bytes (b"" for a directory) is of this format.

        No two formats may both say yes. The file's name must not matter: renamed files are common, and a format
        that follows the name is a way around whoever inspects the bytes. It may look further into the file.
        """

    @abstractmethod
    def read(self, path: Path) -> Contents:
        """Return what the file holds, without running or importing anything that it names.

        Raises
        ------
        NotLoadableError
            If the file is damaged or hostile, or holds no tensors; the message goes on from "PATH: ".
        """
