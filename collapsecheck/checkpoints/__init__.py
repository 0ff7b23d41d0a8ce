"""Checkpoints: a file becomes plain content. A checkpoint is data: nothing that it names is ever run.

`read_checkpoint` recognises the format by the leading bytes, never by the file's name. Nothing here imports
torch before a file is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from collapsecheck.checkpoints.formats import CheckpointFormat, Contents, SafetyNote
from collapsecheck.checkpoints.records import ModuleRecord, Name, Stand
from collapsecheck.checkpoints.stored import HeldTensor, MappedTensor, StoredTensor
from collapsecheck.discovery import plugins
from collapsecheck.errors import NotLoadableError, UsageError, printable

__all__ = [
    "Checkpoint",
    "CheckpointFormat",
    "Contents",
    "HeldTensor",
    "MappedTensor",
    "ModuleRecord",
    "Name",
    "SafetyNote",
    "Stand",
    "StoredTensor",
    "read_checkpoint",
]

_HEAD = 512  # enough to see the mark of a tar file at 257


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a file or directory holds, and how it was read; nothing in it was executed.

    `format` is the id of the format (the name of the file that reads it). `content` is what was saved (see
    `formats.Contents`), a mapping or a `ModuleRecord`; its tensors are still in the file. `runs_code` says that the
    model itself is in it as code, `describes_model` that it may say what the model is without being code.
    """

    path: Path
    format: str
    content: Any
    metadata: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[SafetyNote, ...] = ()
    files: tuple[Path, ...] = ()
    runs_code: bool = False
    describes_model: bool = False

    @cached_property
    def sha256(self) -> str:
        """Digest of the file; of a directory, of the digests of its files in alphabetical order."""
        digests = []
        for file in sorted(self.files or (self.path,)):
            with file.open("rb") as opened:
                digests.append(hashlib.file_digest(opened, "sha256").hexdigest())
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint as data.

    Raises
    ------
    UsageError
        If the path does not exist.
    NotLoadableError
        If the file is of no known format, damaged or hostile.
    """
    from collapsecheck.checkpoints import formats
    from collapsecheck.checkpoints.foreign import describe_file
    from collapsecheck.checkpoints.foreign_directories import describe_directory

    path = Path(path)
    shown = printable(str(path))
    try:
        if not path.exists():
            raise UsageError(f"{shown}: no such file; MODEL is the path of a checkpoint, such as model.pt")
        if not path.is_file() and not path.is_dir():  # opening a pipe would wait forever
            raise NotLoadableError("not a regular file; copy the checkpoint to a file first")
        head = b""
        if path.is_file():
            with path.open("rb") as file:
                head = file.read(_HEAD)
        for identifier, found in plugins(formats, CheckpointFormat).items():
            reader = found()
            if reader.recognises(head, path):
                contents = reader.read(path)
                return Checkpoint(
                    path=path,
                    format=identifier,
                    content=contents.content,
                    metadata=contents.metadata,
                    notes=contents.notes,
                    files=contents.files,
                    runs_code=reader.runs_code,
                    describes_model=reader.describes_model,
                )
        raise NotLoadableError(describe_directory(path) if path.is_dir() else describe_file(head, path))
    except NotLoadableError as error:
        raise NotLoadableError(f"{shown}: {error}") from error
    except OSError as error:
        reason = printable(error.strerror or str(error))
        raise NotLoadableError(f"{shown}: cannot be read ({reason}); check the path and its rights") from error
