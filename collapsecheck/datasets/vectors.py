"""Ready-made embeddings out of a file: the input of `collapsecheck embeddings`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from collapsecheck.datasets.arrays import INPUT_KEYS, LABEL_KEYS, SUFFIXES, Array, pick, read_arrays
from collapsecheck.datasets.labels import encode, read_labels
from collapsecheck.errors import NotMeasuredError, UsageError, printable

KEYS = ("embeddings", *INPUT_KEYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """Embeddings [n, D] (memory-mapped where the format allows), their dtype's name, labels [n] or None."""

    rows: NDArray[Any]
    dtype: str
    labels: NDArray[np.int64] | None


def read_vectors(path: Path, labels: Path | None = None) -> Vectors:
    """Read embeddings, with the labels of a file of their own or of the same file.

    Raises
    ------
    UsageError
        If the path does not exist, is of another format or holds no table of numbers.
    NotMeasuredError
        If the file is empty or damaged.
    """
    shown = printable(str(path))
    if not path.is_file():
        raise UsageError(f"{shown}: no such file; expected vectors in {', '.join(SUFFIXES)}")
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{shown}: vectors are read from {', '.join(SUFFIXES)} files, not {path.suffix or 'this'}")
    arrays = read_arrays(path)
    found = pick(arrays, KEYS)
    if found is None:
        raise UsageError(f"{shown}: holds no array called {' or '.join(KEYS)}")
    rows, dtype = _table(found, shown)
    if labels is not None:
        return Vectors(rows=rows, dtype=dtype, labels=read_labels(labels, [str(i) for i in range(len(rows))])[0])
    given = next((arrays[key] for key in LABEL_KEYS if key in arrays and len(arrays) > 1), None)
    return Vectors(rows=rows, dtype=dtype, labels=None if given is None else encode(given, path, len(rows))[0])


def _table(found: Array, shown: str) -> tuple[NDArray[Any], str]:
    dtype = str(found.dtype).removeprefix("torch.")
    if isinstance(found, torch.Tensor):
        found = (found.float() if found.dtype == torch.bfloat16 else found).numpy()
    if not (np.issubdtype(found.dtype, np.number) or found.dtype == np.bool_) or np.iscomplexobj(found):
        raise UsageError(f"{shown}: expected real numbers, found {found.dtype}")
    rows = found[:, None] if found.ndim == 1 else found
    if rows.ndim != 2:
        raise UsageError(f"{shown}: expected one embedding per row, [n, d], found shape {list(found.shape)}")
    if 0 in rows.shape:
        raise NotMeasuredError(f"{shown}: holds no embeddings (shape {list(found.shape)})")
    return rows, dtype
