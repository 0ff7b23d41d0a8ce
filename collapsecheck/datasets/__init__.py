"""Data: a path becomes items (with names and labels), and items become batches.

`open_items` finds the kind of data, `choose_preprocessing` decides what is done to an item, `Batches` reads.
Nothing here imports torch before it is used.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collapsecheck.datasets.kinds import DataKind, Items, UnreadableItemError
from collapsecheck.datasets.model_input import ModelInput
from collapsecheck.datasets.open_options import NO_OPTIONS, OpenOptions, refuse_unused
from collapsecheck.discovery import plugins
from collapsecheck.errors import NotMeasuredError, UsageError, printable

if TYPE_CHECKING:
    from collapsecheck.datasets.batches import Batch, Batches
    from collapsecheck.datasets.choice import choose_preprocessing
    from collapsecheck.datasets.labels import read_labels
    from collapsecheck.datasets.transform import Preprocessing, TransformOptions

__all__ = [
    "Batch",
    "Batches",
    "Items",
    "ModelInput",
    "OpenOptions",
    "Preprocessing",
    "TransformOptions",
    "UnreadableItemError",
    "choose_preprocessing",
    "open_items",
    "read_labels",
]

_WITH_TORCH = {
    "Batch": "batches",
    "Batches": "batches",
    "Preprocessing": "transform",
    "TransformOptions": "transform",
    "choose_preprocessing": "choice",
    "read_labels": "labels",
}


def __getattr__(name: str) -> Any:
    """Import the parts that need torch when they are first asked for."""
    if name not in _WITH_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WITH_TORCH[name]}"), name)


def open_items(path: Path | str, labels: Path | str | None = None, options: OpenOptions = NO_OPTIONS) -> Items:
    """List the items of a folder or file.

    Parameters
    ----------
    path
        Data of any kind that a file in `kinds/` reads.
    labels
        File of labels; takes the place of those that the data brings along.
    options
        Column of a table, length of sounds and the like.

    Raises
    ------
    UsageError
        If the path does not exist, a file is of no known kind or refused, or an option does not apply to this
        kind of data.
    NotMeasuredError
        If there is nothing in it.
    """
    from collapsecheck.datasets import kinds

    options.validate()
    path = Path(path)
    shown = printable(str(path))
    if not path.exists():
        raise UsageError(f"{shown}: no such file or folder")
    found = {name: kind() for name, kind in plugins(kinds, DataKind).items()}
    name = next((name for name, kind in found.items() if kind.recognises(path)), None)
    if name is None:
        expected = "; ".join(kind.expects for kind in found.values())
        if not path.is_dir():
            raise UsageError(f"{shown}: no data that can be read; expected: {expected}")
        if not os.access(path, os.R_OK | os.X_OK):
            raise UsageError(f"{shown}: no permission to read this folder")
        what = "no data that can be read" if any(path.iterdir()) else "the folder is empty"
        raise NotMeasuredError(f"{shown}: {what}; expected: {expected}")
    refuse_unused(options, found[name].options, name)
    items: Items = found[name].open(path, options)
    items.kind = name
    if labels is not None:
        from collapsecheck.datasets.labels import read_labels

        items.labels, items.classes = read_labels(Path(labels), items.names)
    return items
