"""Arrays in files: one item a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from collapsecheck.datasets.arrays import INPUT_KEYS, LABEL_KEYS, NPY, SUFFIXES, Array, pick, read_arrays
from collapsecheck.datasets.folders import first_bytes
from collapsecheck.datasets.kinds import DataKind, Rows
from collapsecheck.datasets.labels import SUFFIXES as LABEL_SUFFIXES
from collapsecheck.datasets.labels import encode, read_labels
from collapsecheck.datasets.open_options import NO_OPTIONS, OpenOptions
from collapsecheck.datasets.row_names import RowNames
from collapsecheck.errors import NotMeasuredError, UsageError, printable


class ArrayFile(DataKind):
    """An array in a .npy, .npz, .pt or .safetensors file, or a folder with `inputs.*` and perhaps `labels.*`."""

    expects = "an array in .npy, .npz, .pt or .safetensors, alone or as inputs.* (and labels.*) in a folder"

    def recognises(self, path: Path) -> bool:
        """A file with an array's suffix or NumPy's magic bytes, or a folder with such a file called inputs."""
        if path.is_file():
            return path.suffix.lower() in SUFFIXES or first_bytes(path, len(NPY)) == NPY
        return bool(_candidates(path, "inputs", SUFFIXES))

    def open(self, path: Path, options: OpenOptions = NO_OPTIONS) -> ArrayItems:  # noqa: ARG002 - none applies
        """Open the array, mapped into memory where the format allows it."""
        file = path if path.is_file() else _only(path, "inputs", SUFFIXES)
        beside = None if path.is_file() else _only(path, "labels", LABEL_SUFFIXES)
        if file is None:
            expected = ", ".join(f"inputs{suffix}" for suffix in SUFFIXES)
            raise NotMeasuredError(f"{printable(str(path))}: expected one of {expected}")
        arrays = read_arrays(file)
        inputs = pick(arrays, INPUT_KEYS)
        if inputs is None:
            raise UsageError(f"{printable(str(file))}: holds no array called {', '.join(INPUT_KEYS)}")
        items = ArrayItems(file, inputs)
        if beside is not None:
            items.labels, items.classes = read_labels(beside, items.names)
        elif len(arrays) > 1 and (values := pick(arrays, LABEL_KEYS)) is not None:
            _take_labels(items, values, file)
        return items


class ArrayItems(Rows):
    """The rows of one array; a one-dimensional array has rows of one value."""

    def __init__(self, path: Path, array: Array) -> None:
        if isinstance(array, np.ndarray) and array.dtype.kind not in "biuf":
            raise UsageError(f"{printable(str(path))}: items must be numbers, not {array.dtype}")
        if array.ndim == 0:
            raise UsageError(f"{printable(str(path))}: a single number is no data set; rows are items")
        if len(array) == 0 or 0 in array.shape:
            raise NotMeasuredError(f"{printable(str(path))}: the array is empty: its shape is {list(array.shape)}")
        self._array = array[:, None] if array.ndim == 1 else array
        self.names = RowNames(len(array))
        self.item_shape = tuple(self._array.shape[1:])
        self.dtype = self.rows([0]).dtype

    def rows(self, items: Sequence[int]) -> torch.Tensor:
        """Copy rows out of the array; NumPy's many integer and float types become int64 and float32."""
        chosen = np.asarray(items, dtype=np.int64)
        if isinstance(self._array, torch.Tensor):
            return self._array[torch.from_numpy(chosen)]
        rows = self._array[chosen]
        if rows.dtype.kind in "iu" and rows.dtype != np.uint8:
            rows = rows.astype(np.int64)
        elif rows.dtype.kind == "f":
            rows = rows.astype(np.float32)
        return torch.from_numpy(np.ascontiguousarray(rows))


def _take_labels(items: ArrayItems, values: Array, file: Path) -> None:
    """Use what is called `y` or `targets` beside the inputs as labels if it is one class for each item.

    It may as well be the target of a regression, so it is left aside rather than refused; only a wrong number
    of them is an error.
    """
    if len(values.shape) == 0 or len(values) != len(items):
        raise UsageError(f"{printable(str(file))}: {len(items)} inputs, but labels of shape {list(values.shape)}")
    try:
        items.labels, items.classes = encode(values, file, len(items))
    except UsageError:
        return


def _candidates(folder: Path, stem: str, suffixes: Sequence[str]) -> list[Path]:
    return [path for suffix in suffixes if (path := folder / f"{stem}{suffix}").is_file()]


def _only(folder: Path, stem: str, suffixes: Sequence[str]) -> Path | None:
    found = _candidates(folder, stem, suffixes)
    if len(found) > 1:
        raise UsageError(f"{printable(str(folder))}: both {found[0].name} and {found[1].name}; keep one of them")
    return found[0] if found else None
