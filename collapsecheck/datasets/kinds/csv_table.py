"""Tables in text: csv and tsv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from collapsecheck.datasets.csv_rows import CsvLayout, number, rows, sniff
from collapsecheck.datasets.kinds import DataKind, Items, Rows, UnreadableItemError
from collapsecheck.datasets.open_options import NO_OPTIONS, OpenOptions
from collapsecheck.datasets.own_labels import Label, OwnLabels, own_labels
from collapsecheck.datasets.row_names import RowNames
from collapsecheck.datasets.table_columns import ColumnKind, choose_columns, label_column, note_on
from collapsecheck.errors import NotMeasuredError, UsageError, printable

SUFFIXES = (".csv", ".tsv")
MOST_BYTES = 4 * 2**30
EXACT_IN_FLOAT32 = 2**24


class CsvTable(DataKind):
    """A csv or tsv file in UTF-8 with or without a line of names; comma, semicolon, tab or | between fields.

    All columns of numbers are one row together, but for one called label, labels, class or target, and those that
    number the rows. A column called text (or the only one without numbers) makes items of text.
    """

    options = frozenset({"column"})
    expects = "a table in .csv or .tsv"

    def recognises(self, path: Path) -> bool:
        """A csv suffix, or text that splits into at least two columns of numbers."""
        if not path.is_file():
            return False
        if path.suffix.lower() in SUFFIXES:
            return True
        layout = sniff(path)
        return layout is not None and len(layout.names) > 1 and all(layout.numeric)

    def open(self, path: Path, options: OpenOptions = NO_OPTIONS) -> Items:
        """Read the chosen columns into memory."""
        at = printable(str(path))
        size = path.stat().st_size
        if size == 0:
            raise NotMeasuredError(f"{at}: the file is empty")
        if size > MOST_BYTES:
            raise UsageError(f"{at}: {size} bytes of text would not fit into memory; write it as parquet or .npy")
        with path.open("rb") as file:
            if file.read(64).startswith(b"version https://git-lfs"):
                raise NotMeasuredError(f"{at}: a Git LFS pointer, not the data; run `git lfs pull`")
        layout = sniff(path)
        if layout is None:
            raise UsageError(f"{at}: is no table in UTF-8 text")
        if len(set(layout.names)) < len(layout.names):
            raise UsageError(f"{at}: two columns have the same name")
        columns = {
            name: ColumnKind.NUMBER if numeric else ColumnKind.TEXT
            for name, numeric in zip(layout.names, layout.numeric, strict=True)
        }
        kind, inputs = choose_columns(columns, options.column, at)
        label = label_column(columns, inputs)
        items: Items
        if kind is ColumnKind.TEXT:
            items = _texts(path, layout, inputs[0], label)
        else:
            items = _numbers(path, layout, inputs, label)
        items.note = note_on(inputs, label if items.labels is not None else None)
        return items


class CsvRows(Rows):
    """Rows of numbers, int64 where all are whole (they may be token ids), else float32."""

    def __init__(self, values: NDArray[np.float32], problems: dict[int, str], own: OwnLabels) -> None:
        self.names = RowNames(len(values))
        self.labels, self.classes = own.labels, own.classes
        self.item_shape = values.shape[1:]
        self._problems = {**dict.fromkeys(own.missing, "has no label"), **problems}
        whole = bool(np.isfinite(values).all() and (np.abs(values) < EXACT_IN_FLOAT32).all())
        whole = whole and bool((values == np.trunc(values)).all())
        self._values = values
        self.dtype = torch.int64 if whole else torch.float32

    def rows(self, items: Sequence[int]) -> torch.Tensor:
        """Copy rows."""
        for item in items:
            if item in self._problems:
                raise UnreadableItemError(self._problems[item])
        return torch.from_numpy(self._values[np.asarray(items, dtype=np.int64)]).to(self.dtype)


def _numbers(path: Path, layout: CsvLayout, inputs: tuple[str, ...], label: str | None) -> CsvRows:
    place = {name: i for i, name in enumerate(layout.names)}  # there may be many thousands
    chosen = [place[name] for name in inputs]
    labelled = None if label is None else layout.names.index(label)
    held: list[NDArray[np.float32]] = []
    labels: list[Label] = []
    problems: dict[int, str] = {}
    for line, row in rows(path, layout):
        try:
            if len(row) != len(layout.names):
                raise ValueError
            with np.errstate(over="ignore"):
                values = np.array([row[i] for i in chosen], dtype=np.float64).astype(np.float32)
        except ValueError:
            problems[len(held)] = _problem(line, row, layout, chosen)
            values = np.zeros(len(chosen), dtype=np.float32)
        held.append(values)
        if labelled is not None:
            labels.append(_label(row[labelled]) if labelled < len(row) else None)
    if not held:
        raise NotMeasuredError(f"{printable(str(path))}: the table has no rows")
    return CsvRows(np.stack(held), problems, own_labels(labels))


def _texts(path: Path, layout: CsvLayout, column: str, label: str | None) -> Items:
    from collapsecheck.datasets.table_texts import TableTexts

    at = layout.names.index(column)
    labelled = None if label is None else layout.names.index(label)
    found: list[str | None] = []
    labels: list[Label] = []
    for _, row in rows(path, layout):
        found.append(row[at] if at < len(row) else None)
        if labelled is not None:
            labels.append(_label(row[labelled]) if labelled < len(row) else None)
    if not found:
        raise NotMeasuredError(f"{printable(str(path))}: the table has no rows")
    return TableTexts(RowNames(len(found)), found.__getitem__, own_labels(labels))


def _problem(line: int, row: list[str], layout: CsvLayout, chosen: list[int]) -> str:
    if len(row) != len(layout.names):
        return f"line {line} has {len(row)} fields, expected {len(layout.names)}"
    bad = next((i for i in chosen if number(row[i]) is None), chosen[0])
    return f"line {line}, column {printable(layout.names[bad], 40)}: {printable(row[bad], 40)!r} is no number"


def _label(text: str) -> Label:
    return text.strip()[:200] or None
