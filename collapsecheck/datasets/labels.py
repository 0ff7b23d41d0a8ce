"""Labels of the items: class numbers 0..k-1 and the names of the classes."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from collapsecheck.datasets.arrays import LABEL_KEYS, Array, pick, read_arrays
from collapsecheck.errors import UsageError, did_you_mean, printable

SUFFIXES = (".npy", ".npz", ".pt", ".safetensors", ".txt", ".csv")
HEADERS = frozenset({"name", "item", "file", "filename", "path", "image", "index"})

Labels = tuple[NDArray[np.int64], tuple[str, ...]]


def read_labels(path: Path, names: Sequence[str]) -> Labels:
    """Read the labels of the items with these names.

    Parameters
    ----------
    path
        `.npy`, `.npz`, `.pt`, `.safetensors`: one integer (or text) for each item, in the order of the items;
        `.txt`: one label a line, in the same order; `.csv`: `name,label` lines in any order, where a name is
        the item's path or, if no other item shares it, its last part.
    names
        Names of the items, in order.

    Returns
    -------
    labels, classes
        Class numbers `[n]` that index `classes`; classes are sorted (numbers by value).

    Raises
    ------
    UsageError
        If the file is missing, of another form, or does not fit the items.
    """
    if not path.is_file():
        raise UsageError(f"{_shown(path)}: no such file of labels")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{_shown(path)}: labels are read from {', '.join(SUFFIXES)} files")
    if suffix == ".csv":
        return encode(np.array(_by_name(path, names), dtype=np.str_), path, len(names))
    if suffix == ".txt":
        return encode(np.array([line.strip() for line in _text(path)], dtype=np.str_), path, len(names))
    values = pick(read_arrays(path), (*LABEL_KEYS, "arr_0"))
    if values is None:
        raise UsageError(f"{_shown(path)}: holds no array called {' or '.join(LABEL_KEYS)}")
    return encode(values, path, len(names))


def encode(values: Array, path: Path, count: int) -> Labels:
    """Turn any label values into class numbers and class names."""
    array: NDArray[Any] = _as_numpy(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise UsageError(f"{_shown(path)}: labels must be one number for each item, not {list(array.shape)}")
    if len(array) != count:
        raise UsageError(f"{_shown(path)}: {len(array)} labels for {count} items; there must be one for each item")
    if array.dtype.kind not in "biufSU":
        raise UsageError(f"{_shown(path)}: labels must be whole numbers or text, not {array.dtype}")
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and np.array_equal(array, np.round(array))):
            raise UsageError(f"{_shown(path)}: labels must be whole numbers or text, these have fractions")
        array = array.astype(np.int64)
    if array.dtype.kind == "U":
        array = _numbers(array)
    found, labels = np.unique(array, return_inverse=True)
    classes = tuple(name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in found)
    return labels.astype(np.int64), classes


def _numbers(texts: NDArray[np.str_]) -> NDArray[Any]:
    """Whole numbers written as text become numbers, so that class 10 sorts after class 9."""
    try:
        numbers = texts.astype(np.int64)
    except (ValueError, OverflowError):
        return texts
    return numbers if np.array_equal(numbers.astype(np.str_), texts) else texts


def _by_name(path: Path, names: Sequence[str]) -> list[str]:
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(_text(path)) if row]
    except csv.Error as error:
        raise UsageError(f"{_shown(path)}: is not a CSV file: {error}") from error
    if rows and rows[0][0].lower() in HEADERS and rows[0][0] not in names:
        rows = rows[1:]
    ends = [PurePosixPath(name).name for name in names]
    endings = Counter(ends)
    position = {end: i for i, end in enumerate(ends) if endings[end] == 1}
    position |= {name: i for i, name in enumerate(names)}  # last: a whole path wins over another's last part
    found: dict[int, str] = {}
    for row in rows:
        if len(row) != 2:
            raise UsageError(f"{_shown(path)}: lines must read name,label; found {printable(','.join(row), 60)!r}")
        name, label = row
        if name not in position:
            raise UsageError(
                f"{_shown(path)}: no item is called {printable(name)!r}{_suggestion(name, endings, names)}"
            )
        if found.setdefault(position[name], label) != label:
            raise UsageError(f"{_shown(path)}: two different labels for {printable(name)!r}")
    if len(found) < len(names):
        first = next(name for i, name in enumerate(names) if i not in found)
        lacking = len(names) - len(found)
        raise UsageError(
            f"{_shown(path)}: no label for {lacking} of {len(names)} items, the first is {printable(first)!r}"
        )
    return [found[i] for i in range(len(names))]


def _suggestion(name: str, endings: Counter[str], names: Sequence[str]) -> str:
    if endings[name] > 1:
        return f" alone: {endings[name]} items end so; give the path below the data folder"
    hint = did_you_mean(name, islice(names, 2000))  # beyond that the search takes seconds
    return hint if hint.startswith("; did you mean") else f"; items are called like {printable(names[0])!r}"


def _text(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{_shown(path)}: cannot be read as UTF-8 text") from error


def _as_numpy(values: Array) -> NDArray[Any]:
    if isinstance(values, torch.Tensor):
        return (values.double() if values.is_floating_point() else values).numpy()
    return np.asarray(values)


def _shown(path: Path) -> str:
    return printable(str(path))
