"""Which kind of checkpoint a directory is: decided in one place, so that no two formats claim it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

DirectoryKind = Literal["dcp", "sentence-transformers", "huggingface", "safetensors-sharded"]

INDEX = ".safetensors.index.json"
_PICKLED = re.compile(r"pytorch_model.*\.bin(\.index\.json)?")


def kind_of_directory(path: Path) -> DirectoryKind | None:
    """Tell the kind of a directory from the names in it; None if it is none, or a file.

    A directory of sentence-transformers is one of Hugging Face as well, and that has often an index of shards: the
    first that fits is the one that knows most.
    """
    if not path.is_dir():
        return None
    names = {entry.name for entry in path.iterdir()}
    if ".metadata" in names and any(name.endswith(".distcp") for name in names):
        return "dcp"
    if "modules.json" in names:
        return "sentence-transformers"
    has_index = any(name.endswith(INDEX) for name in names)
    if "config.json" in names and (
        has_index or any(name.endswith(".safetensors") or _PICKLED.fullmatch(name) for name in names)
    ):
        return "huggingface"
    return "safetensors-sharded" if has_index else None


def inside(directory: Path, name: str) -> Path | None:
    """Return the path of a file that a description names, None if it could lie outside the directory.

    The name has to be a plain one. A link may lead to the directory itself, or to where the cache of the Hugging Face
    hub keeps the files of its snapshots: `snapshots/REVISION/NAME` links to `blobs/DIGEST` beside `snapshots`.
    """
    if not name or name in {".", ".."} or any(mark in name for mark in "/\\:\0") or len(name) > 255:
        return None
    path = directory / name
    home = directory.resolve()
    allowed = [home]
    if home.parent.name == "snapshots":
        allowed.append(home.parent.parent / "blobs")
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError, ValueError):  # links in a circle, a name that no file can have
        return None
    return path if resolved.parent in allowed else None
