"""Columns of Arrow tables as pictures, rows of numbers or texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from PIL import Image

from collapsecheck.datasets.arrow_cells import Cells, decoded, stacked
from collapsecheck.datasets.arrow_parts import DamagedTableError, Failures
from collapsecheck.datasets.kinds import Pictures, UnreadableItemError
from collapsecheck.datasets.own_labels import NO_LABELS, Label, OwnLabels, own_labels
from collapsecheck.datasets.pictures import read_mode, read_picture
from collapsecheck.datasets.row_names import RowNames
from collapsecheck.datasets.single_rows import SingleRows, plain
from collapsecheck.errors import printable


class TablePictures(Pictures):
    """A column of encoded images."""

    def __init__(self, cells: Cells, own: OwnLabels, max_pixels: int) -> None:
        self.cells, self.own, self.max_pixels = cells, own, max_pixels
        self.names = RowNames(len(cells))
        self.labels, self.classes = own.labels, own.classes

    def read(self, item: int) -> Image.Image:
        """Decode one image."""
        return read_picture(self._content(item), self.max_pixels)

    def mode(self, item: int) -> str | None:
        """Read the mode in one image's header."""
        try:
            return read_mode(self._content(item))
        except UnreadableItemError:
            return None

    def _content(self, item: int) -> bytes:
        held = one_cell(self.cells, self.own, item)
        if isinstance(held, dict):
            if held.get("bytes") is None and held.get("path"):
                raise UnreadableItemError(f"holds a path, not an image: {printable(str(held['path']))}")
            held = held.get("bytes")
        if not isinstance(held, bytes):
            raise UnreadableItemError("the image is missing (null)")
        return held


class TableRows(SingleRows):
    """A column of lists of numbers, or several columns of numbers side by side."""

    slow_to_read = False

    def __init__(self, cells: Cells, own: OwnLabels, *, lists: bool, shape: tuple[int, ...] | None) -> None:
        self.cells, self.own, self._lists, self._shape = cells, own, lists, shape
        self.names = RowNames(len(cells))
        self.labels, self.classes = own.labels, own.classes
        self.probe(len(cells))

    def array(self, item: int) -> NDArray[Any]:
        """Return one row."""
        array: NDArray[Any] = self._stack([item])[0]
        return array

    def rows(self, items: Sequence[int]) -> torch.Tensor:
        """Return several rows, which have all the same shape."""
        array = self._stack(items)
        if array.shape[1:] != self.item_shape:
            shape = list(array.shape[1:])
            raise UnreadableItemError(f"has the shape {shape}, others have {list(self.item_shape)}")
        return torch.from_numpy(np.array(plain(array), order="C")).to(self.dtype)

    def _stack(self, items: Sequence[int]) -> NDArray[Any]:
        if not self.own.missing.isdisjoint(items):
            raise UnreadableItemError("has no label")
        batch = self.cells.take(items)
        if self._lists:
            array = stacked(batch.column(0))
            return array if self._shape is None else array.reshape(len(items), *self._shape)
        return np.stack([stacked(column) for column in batch.columns], axis=1)


def one_cell(cells: Cells, own: OwnLabels, item: int) -> Any:
    """Return one cell as a Python value."""
    if item in own.missing:
        raise UnreadableItemError("has no label")
    return decoded(cells.take([item]).column(0))[0].as_py()


def labels_of(cells: Cells, column: str, feature: Any) -> OwnLabels:
    """Read a column of labels; `feature` is what Hugging Face's metadata says about it.

    Raises
    ------
    DamagedTableError
        If the column cannot be read, or has fewer rows than the table declares.
    """
    names: Any = feature.get("names") if isinstance(feature, Mapping) else None
    names = [str(name) for name in names] if isinstance(names, list) else []
    values: list[Label] = []
    try:
        for piece in cells.all(column):
            plain_piece = decoded(piece)
            if pa.types.is_floating(plain_piece.type) or pa.types.is_nested(plain_piece.type):
                return NO_LABELS  # the target of a regression, or several labels for each item
            values += [_label(value, bool(names)) for value in plain_piece.to_pylist()]
    except Failures as error:
        raise DamagedTableError(printable(str(error).partition("\n")[0])) from error
    if len(values) != len(cells):
        raise DamagedTableError(f"declares {len(cells)} rows, but its column of labels has {len(values)}")
    return own_labels(values, names)


def _label(value: Any, named: bool) -> Label:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        return value
    return value if isinstance(value, int) and not (named and value < 0) else None  # -1 stands for no label
