"""Which column of a table is the input, and which the label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from collapsecheck.datasets.own_labels import LABEL_COLUMNS
from collapsecheck.errors import UsageError, did_you_mean, printable

# Columns of these names number the rows; they say nothing about the items.
NUMBERING = frozenset({"", "id", "ids", "idx", "index", "row", "row_id", "uid", "unnamed: 0", "__index_level_0__"})
TEXTS = ("text", "sentence", "content", "document", "review")


class ColumnKind(Enum):
    """What the cells of a column are; the value is how messages say it."""

    PICTURE = "images"
    ROW = "lists of numbers"
    TEXT = "texts"
    NUMBER = "numbers"
    OTHER = "not an input"


def choose_columns(columns: Mapping[str, ColumnKind], given: str | None, at: str) -> tuple[ColumnKind, tuple[str, ...]]:
    """Return the input: one column, or all columns of numbers together.

    Images and lists of numbers come first, then texts in a column that is called so, then numbers, then texts.

    Raises
    ------
    UsageError
        If the given column is unknown or no input, and where several could be meant or none.
    """
    if given is not None:
        if given not in columns:
            names = [printable(name, 60) for name in columns]
            raise UsageError(
                f"{at}: --column {printable(given)}: no such column{did_you_mean(printable(given), names)}"
            )
        if columns[given] is ColumnKind.OTHER:
            raise UsageError(
                f"{at}: --column {printable(given)} holds neither images nor texts nor numbers; {_listed(columns)}"
            )
        return columns[given], (given,)
    free = {name: kind for name, kind in columns.items() if name.lower() not in {*LABEL_COLUMNS, *NUMBERING}}
    large = [name for name, kind in free.items() if kind in {ColumnKind.PICTURE, ColumnKind.ROW}]
    texts = [name for name, kind in free.items() if kind is ColumnKind.TEXT]
    called = [name for name in texts if name.lower() in TEXTS]
    numbers = [name for name, kind in free.items() if kind is ColumnKind.NUMBER]
    for several in (large, called):
        if len(several) == 1:
            return free[several[0]], (several[0],)
        if several:
            raise UsageError(f"{at}: which column is the input? Choose with --column; {_listed(columns, several)}")
    if numbers:
        return ColumnKind.NUMBER, tuple(numbers)
    if len(texts) == 1:
        return ColumnKind.TEXT, (texts[0],)
    if texts:
        raise UsageError(f"{at}: which column is the input? Choose with --column; {_listed(columns, texts)}")
    raise UsageError(f"{at}: no column can be the input; {_listed(columns)}")


def label_column(columns: Iterable[str], inputs: Iterable[str]) -> str | None:
    """Return the column of labels, by its name."""
    taken = set(inputs)
    by_name = {name.lower(): name for name in columns if name not in taken}
    return next((by_name[name] for name in LABEL_COLUMNS if name in by_name), None)


def note_on(columns: tuple[str, ...], label: str | None) -> str:
    """Say for the report which columns were taken."""
    shown = [printable(name, 40) for name in columns[:3]]
    if len(columns) == 1:
        words = f"column {shown[0]}"
    elif len(columns) <= 3:
        words = f"columns {', '.join(shown)}"
    else:
        words = f"columns {shown[0]}, {shown[1]}, … ({len(columns)} in all)"
    return words if label is None else f"{words} (labels: {printable(label, 40)})"


def _listed(columns: Mapping[str, ColumnKind], names: Iterable[str] | None = None) -> str:
    chosen = list(columns if names is None else names)
    shown = ", ".join(f"{printable(name, 60)} ({columns[name].value})" for name in chosen[:20])
    return f"columns: {shown or 'none'}{', …' if len(chosen) > 20 else ''}"
