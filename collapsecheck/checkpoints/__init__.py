"""Checkpoints: a file becomes plain content. A checkpoint is data: nothing that it names is ever run.

`read_checkpoint` recognises the format by the leading bytes, never by the file's name. Nothing here imports
torch before a file is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collapsecheck.checkpoints.formats import CheckpointFormat
from collapsecheck.discovery import plugins
from collapsecheck.errors import NotLoadableError, UsageError, printable

__all__ = ["Checkpoint", "CheckpointFormat", "read_checkpoint"]

_HEAD = 512  # enough to see the mark of a tar file at 257


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a file holds, and how it was read.

    `format` is the id of the format (the name of the file that reads it), `trust` says what was allowed to
    happen: with `data-only` nothing in the file was executed. `content` is what was saved, tensors on the
    CPU; `metadata` are the notes that some formats carry beside it.
    """

    path: Path
    format: str
    trust: str = "data-only"
    sha256: str
    content: Mapping[Any, Any]
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint as data.

    Raises
    ------
    UsageError
        If the path does not exist.
    NotLoadableError
        If the file is of no known format, damaged, or needs code to be run.
    """
    from collapsecheck.checkpoints import formats
    from collapsecheck.checkpoints.foreign import describe_directory, describe_file

    path = Path(path)
    shown = printable(str(path))
    try:
        if not path.exists():
            raise UsageError(f"{shown}: no such file; MODEL is the path of a checkpoint, such as model.pt")
        if path.is_dir():
            raise NotLoadableError(f"{shown}: {describe_directory(path)}")
        if not path.is_file():  # opening a pipe would wait forever
            raise NotLoadableError(f"{shown}: not a regular file; copy the checkpoint to a file first")
        with path.open("rb") as file:
            head = file.read(_HEAD)
            for identifier, found in plugins(formats, CheckpointFormat).items():
                reader = found()
                if reader.recognises(head, path):
                    file.seek(0)
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                    return Checkpoint(
                        path=path,
                        format=identifier,
                        sha256=digest,
                        content=reader.read(path),
                        metadata=reader.metadata(path),
                    )
    except OSError as error:
        reason = printable(error.strerror or str(error))
        raise NotLoadableError(f"{shown}: cannot be read ({reason}); check the path and its rights") from error
    raise NotLoadableError(f"{shown}: {describe_file(head)}")
