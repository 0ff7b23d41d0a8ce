"""Folders of files: which are in them, and which classes their sub-folders tell."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A folder of these names says which part of the data an item belongs to, not what it is.
SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


def file_names(root: Path, suffixes: Collection[str]) -> Iterator[str]:
    """Yield the relative posix paths of all files below `root` with these suffixes, in no particular order.

    Hidden files are left out. Links to folders are followed once.
    """
    entered = set()
    for folder, below, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:  # a link back up, or a second link to the same folder
            below.clear()
            continue
        entered.add(real)
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in files:
            path = Path(folder, name)
            if has_suffix(name, suffixes) and path.is_file():  # a pipe of that name would block for ever
                yield path.relative_to(root).as_posix()


def has_suffix(name: str, suffixes: Collection[str]) -> bool:
    """Whether a file that is not hidden has one of these suffixes."""
    return not name.startswith(".") and Path(name).suffix.lower() in suffixes


def first_bytes(path: Path, count: int) -> bytes:
    """Return how a regular file begins; nothing where it cannot be read."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""


def class_folders(names: Sequence[str]) -> list[str] | None:
    """Return the class of each item: its outermost folder that tells items apart, or None without classes.

    Folders that all items share and names of splits (`train`, `val`, …) are passed over. Where an item lies
    beside the class folders, or only one folder remains, there are no classes.
    """
    parents = [name.split("/")[:-1] for name in names]
    while parents and all(parents):
        outermost = {parts[0] for parts in parents}
        if len(outermost) > 1 and not all(folder.lower() in SPLITS for folder in outermost):
            return [parts[0] for parts in parents]
        parents = [parts[1:] for parts in parents]
    return None


def folder_labels(names: Sequence[str]) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Return class numbers `[n]` and the names of the classes, or None and no names without classes."""
    import numpy as np

    folders = class_folders(names)
    if folders is None:
        return None, ()
    classes = tuple(sorted(set(folders)))
    number = {folder: i for i, folder in enumerate(classes)}
    return np.array([number[folder] for folder in folders], dtype=np.int64), classes
