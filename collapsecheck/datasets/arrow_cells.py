"""Cells of Arrow tables: any rows, in any order, of some columns."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from collapsecheck.datasets.arrow_parts import DamagedTableError, Failures, Part
from collapsecheck.datasets.arrow_pieces import Pieces
from collapsecheck.datasets.kinds import UnreadableItemError
from collapsecheck.datasets.table_columns import ColumnKind
from collapsecheck.errors import printable


class Cells:
    """The cells of some columns, by row."""

    def __init__(self, parts: Sequence[Part], columns: tuple[str, ...]) -> None:
        self.columns = columns
        self._parts = parts
        self._units = [(number, unit) for number, part in enumerate(parts) for unit in range(len(part.units))]
        self._starts = [0, *accumulate(parts[number].units[unit] for number, unit in self._units)]
        self._pieces = Pieces(columns)

    def __len__(self) -> int:
        return self._starts[-1]

    def take(self, rows: Sequence[int]) -> Any:
        """Return a record batch of these rows, which are read in ascending order.

        Raises
        ------
        UnreadableItemError
            If the file is damaged there or ends before.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        order = np.argsort(wanted, kind="stable")
        ascending = wanted[order]
        taken = []
        at = 0
        while at < len(ascending):
            unit = bisect_right(self._starts, int(ascending[at])) - 1
            key, start = self._units[unit], self._starts[unit]
            try:
                first, piece = self._pieces.at(self._parts[key[0]], key, int(ascending[at]) - start)
                run = int(np.searchsorted(ascending, start + first + piece.num_rows))
                taken.append(piece.take(pa.array(ascending[at:run] - (start + first))))
            except Failures as error:
                self._pieces.forget(key)
                reason = printable(str(error).partition("\n")[0]) or type(error).__name__
                raise UnreadableItemError(f"the table is damaged here: {reason}") from error
            at = run
        if len(taken) == 1 and bool((order[:-1] < order[1:]).all()):
            return taken[0]
        together = pa.Table.from_batches(taken).combine_chunks().to_batches()[0]
        return together.take(pa.array(np.argsort(order)))

    def all(self, column: str) -> Iterator[Any]:
        """Yield a column as Arrow arrays."""
        for number, unit in self._units:
            for piece in self._parts[number].read(unit, [column]):
                yield piece.column(0)


def columns_of(schema: Any) -> dict[str, ColumnKind]:
    """Return what the columns hold, by their names.

    Raises
    ------
    DamagedTableError
        If a name is no text.
    """
    try:
        return {field.name: kind_of(field.type) for field in schema}
    except UnicodeDecodeError as error:
        raise DamagedTableError("the name of a column is not UTF-8") from error


def kind_of(type_: Any) -> ColumnKind:
    """Tell from an Arrow type what the cells of a column are."""
    if isinstance(type_, pa.BaseExtensionType):
        type_ = type_.storage_type
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    if pa.types.is_struct(type_):
        held = {field.name: field.type for field in type_}
        return ColumnKind.PICTURE if "bytes" in held and _is_binary(held["bytes"]) else ColumnKind.OTHER
    if _is_binary(type_):
        return ColumnKind.PICTURE
    if pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return ColumnKind.TEXT
    if _is_number(type_):
        return ColumnKind.NUMBER
    while _is_list(type_):
        type_ = type_.value_type
        if _is_number(type_):
            return ColumnKind.ROW
    return ColumnKind.OTHER


def decoded(cells: Any) -> Any:
    """Return the plain array below dictionaries and extension types."""
    if isinstance(cells.type, pa.BaseExtensionType):
        cells = cells.storage
    return cells.dictionary_decode() if pa.types.is_dictionary(cells.type) else cells


def stacked(cells: Any) -> NDArray[Any]:
    """Return lists of numbers as one array `[n, …]`.

    Raises
    ------
    UnreadableItemError
        If they differ in length, or something is null.
    """
    cells = decoded(cells)
    shape = [len(cells)]
    while _is_list(cells.type):
        _refuse_null(cells)
        if pa.types.is_fixed_size_list(cells.type):
            shape.append(cells.type.list_size)
        else:
            found = pc.min_max(pc.list_value_length(cells)).as_py()
            if found["min"] != found["max"]:
                raise UnreadableItemError(f"lists differ in length: from {found['min']} to {found['max']}")
            shape.append(found["min"] or 0)
        cells = cells.flatten()
    _refuse_null(cells)
    return np.asarray(cells.to_numpy(zero_copy_only=False)).reshape(shape)


def _refuse_null(cells: Any) -> None:
    if cells.null_count:
        raise UnreadableItemError("a value is missing (null)")


def _is_binary(type_: Any) -> bool:
    return bool(pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_binary_view(type_))


def _is_number(type_: Any) -> bool:
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_boolean(type_))


def _is_list(type_: Any) -> bool:
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_))
