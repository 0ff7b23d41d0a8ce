"""Files of JSON, one object on each line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collapsecheck.datasets.folders import first_bytes
from collapsecheck.datasets.kinds import DataKind, Items, UnreadableItemError
from collapsecheck.datasets.line_file import LineFile, is_text, refuse_pointer
from collapsecheck.datasets.open_options import NO_OPTIONS, OpenOptions
from collapsecheck.datasets.own_labels import Label, OwnLabels, own_labels
from collapsecheck.datasets.row_names import RowNames
from collapsecheck.datasets.single_rows import SingleRows
from collapsecheck.datasets.table_columns import ColumnKind, choose_columns, label_column, note_on
from collapsecheck.errors import NotMeasuredError, printable

SUFFIXES = (".jsonl", ".ndjson")
_SEEN = 4096
_TRIED = 50  # lines that tell what the columns are


class JsonLines(DataKind):
    """A file with one JSON object on each line, whose entries are its columns; or with one JSON string on each.

    Texts are strings, rows are lists of numbers or all columns of numbers together. Labels come from a column
    called label, labels, class or target.
    """

    options = frozenset({"column"})
    expects = "a .jsonl file"

    def recognises(self, path: Path) -> bool:
        """Its suffix, or .json with an object on the first line; and text in it."""
        if not path.is_file():
            return False
        start = first_bytes(path, _SEEN)
        if path.suffix.lower() in SUFFIXES:
            return is_text(start)
        return path.suffix.lower() == ".json" and is_text(start) and _begins_with_object(start)

    def open(self, path: Path, options: OpenOptions = NO_OPTIONS) -> Items:
        """Find the lines, choose the column and read the labels."""
        at = printable(str(path))
        refuse_pointer(path, first_bytes(path, _SEEN))
        lines = ObjectLines(LineFile(path))
        columns = _columns(lines)
        if columns is None:
            raise NotMeasuredError(f"{at}: not one of the first lines is a JSON object")
        if not columns:
            return _texts(lines, None, own_labels([]))
        kind, inputs = choose_columns(columns, options.column, at)
        label = label_column(columns, inputs)
        own = own_labels([_label(lines, i, label) for i in range(len(lines))] if label is not None else [])
        items = (
            _texts(lines, inputs[0], own)
            if kind is ColumnKind.TEXT
            else JsonRows(lines, inputs, own, lists=kind is ColumnKind.ROW)
        )
        items.note = note_on(inputs, label if items.labels is not None else None)
        return items


class ObjectLines:
    """The lines, parsed when they are asked for."""

    def __init__(self, lines: LineFile) -> None:
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, item: int) -> Any:
        """Return what one line holds.

        Raises
        ------
        UnreadableItemError
            If it is no JSON.
        """
        try:
            return json.loads(self._lines[item])
        except (ValueError, RecursionError) as error:
            reason = printable(str(error), 80) if isinstance(error, json.JSONDecodeError) else type(error).__name__
            raise UnreadableItemError(f"is no JSON: {reason}") from error

    def entry(self, item: int, column: str | None) -> Any:
        """Return one entry of one line, None where it has none; without a column the line itself."""
        held = self[item]
        if column is None:
            return held
        if not isinstance(held, dict):
            raise UnreadableItemError("is no JSON object")
        return held.get(column)


class JsonRows(SingleRows):
    """Numbers of one column of lists, or of several columns."""

    def __init__(self, lines: ObjectLines, columns: tuple[str, ...], own: OwnLabels, *, lists: bool) -> None:
        self.names = RowNames(len(lines))
        self.labels, self.classes = own.labels, own.classes
        self._lines, self._columns, self._lists, self._unlabelled = lines, columns, lists, own.missing
        self.probe(len(lines))

    def array(self, item: int) -> NDArray[Any]:
        """Return the numbers of one line."""
        if item in self._unlabelled:
            raise UnreadableItemError("has no label")
        found = [self._lines.entry(item, column) for column in self._columns]
        try:
            return np.asarray(found[0] if self._lists else found)
        except (ValueError, OverflowError) as error:
            raise UnreadableItemError("its lists differ in length") from error


class _Cell:
    """Reads a text; picklable."""

    def __init__(self, lines: ObjectLines, column: str | None, own: OwnLabels) -> None:
        self._lines, self._column, self._unlabelled = lines, column, own.missing

    def __call__(self, item: int) -> Any:
        if item in self._unlabelled:
            raise UnreadableItemError("has no label")
        return self._lines.entry(item, self._column)


def _texts(lines: ObjectLines, column: str | None, own: OwnLabels) -> Items:
    from collapsecheck.datasets.table_texts import TableTexts

    return TableTexts(RowNames(len(lines)), _Cell(lines, column, own), own)


def _begins_with_object(start: bytes) -> bool:
    first = start.lstrip().split(b"\n", 1)[0]
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def _columns(lines: ObjectLines) -> dict[str, ColumnKind] | None:
    """What the first lines hold, by column; nothing where they are texts, None where they are neither."""
    found: dict[str, ColumnKind] = {}
    texts = objects = 0
    for item in range(min(len(lines), _TRIED)):
        try:
            held = lines[item]
        except UnreadableItemError:
            continue
        texts += isinstance(held, str)
        if isinstance(held, dict):
            objects += 1
            for name, value in held.items():
                if value is not None:
                    found.setdefault(name, _kind(value))
    return found if objects else {} if texts else None


def _kind(value: Any) -> ColumnKind:
    if isinstance(value, str):
        return ColumnKind.TEXT
    if isinstance(value, int | float):
        return ColumnKind.NUMBER
    while isinstance(value, list) and value:
        value = value[0]
        if isinstance(value, int | float):
            return ColumnKind.ROW
    return ColumnKind.OTHER


def _label(lines: ObjectLines, item: int, column: str) -> Label:
    try:
        held = lines.entry(item, column)
    except UnreadableItemError:  # counted when it is read again
        return None
    if isinstance(held, str):
        return held.strip()[:200] or None
    return int(held) if isinstance(held, int) else None
