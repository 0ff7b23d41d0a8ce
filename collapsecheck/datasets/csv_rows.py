"""Lines of a csv file as fields, in bounded memory."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from collapsecheck.datasets.own_labels import LABEL_COLUMNS
from collapsecheck.datasets.table_columns import NUMBERING, TEXTS
from collapsecheck.errors import NotMeasuredError, printable

DELIMITERS = ("\t", ";", ",", "|")
LONGEST_LINE = 2**24  # a million numbers
SNIFFED_BYTES = 2**16
SNIFFED_LINES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvLayout:
    """Delimiter, whether the first line names the columns, those names, and which columns hold numbers."""

    delimiter: str
    header: bool
    names: tuple[str, ...]
    numeric: tuple[bool, ...] = field(default=())


def sniff(path: Path) -> CsvLayout | None:
    """Find the layout from the first lines; None if the file is no table of text."""
    try:
        with path.open("rb") as file:
            start = file.read(SNIFFED_BYTES)
        text = start.decode("utf-8-sig", errors="strict" if len(start) < SNIFFED_BYTES else "ignore")
    except (OSError, UnicodeDecodeError):
        return None
    lines = text.splitlines()
    if len(start) == SNIFFED_BYTES:
        lines = lines[:-1] or lines  # the last is cut off
    lines = [line for line in lines if line.strip()][:SNIFFED_LINES]
    if not lines or "\0" in text:
        return None
    delimiter = _delimiter(lines)
    try:
        rows = list(csv.reader(lines, delimiter=delimiter))
    except csv.Error:
        return None
    rows = [row for row in rows if len(row) == len(rows[0])]
    first, others = rows[0], rows[1:]
    numeric = tuple(_mostly_numbers([row[i] for row in others or [first]]) for i in range(len(first)))
    header = _is_header(first, numeric)
    names = tuple(name.strip() for name in first) if header else tuple(str(i) for i in range(len(first)))
    return CsvLayout(delimiter=delimiter, header=header, names=names, numeric=numeric)


def rows(path: Path, layout: CsvLayout) -> Iterator[tuple[int, list[str]]]:
    """Yield number of the line (the last of it, where quotes span several) and fields.

    Raises
    ------
    NotMeasuredError
        If a line or a field has no end, or the text is not UTF-8.
    """
    shown = printable(str(path))
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(_lines(file, shown), delimiter=layout.delimiter)
            for number, row in enumerate(reader):
                if row and not (number == 0 and layout.header):
                    yield reader.line_num, row
    except csv.Error as error:
        raise NotMeasuredError(f"{shown}: line {reader.line_num}: {error}; is a quote left open?") from error
    except UnicodeDecodeError as error:
        raise NotMeasuredError(f"{shown}: is not UTF-8 text: {error.reason} at byte {error.start}") from error


def number(text: str) -> float | None:
    """Return what a field says, or None if that is no number."""
    try:
        return float(text) if "_" not in text else None  # Python takes 1_000 for a number, nobody else does
    except ValueError:
        return None


def _lines(file: TextIO, shown: str) -> Iterator[str]:
    count = 0
    while line := file.readline(LONGEST_LINE):
        count += 1
        if len(line) == LONGEST_LINE and not line.endswith("\n"):
            raise NotMeasuredError(f"{shown}: line {count} is longer than {LONGEST_LINE} characters; is it a table?")
        yield line.replace("\0", "")


def _delimiter(lines: list[str]) -> str:
    """The one that splits the lines into the same number of fields, the largest such number."""

    def fields(delimiter: str) -> tuple[bool, int]:
        counts = [line.count(delimiter) for line in lines]
        return min(counts) == max(counts) and counts[0] > 0, min(counts)

    best = max(DELIMITERS, key=fields)
    return best if fields(best)[1] > 0 else ","


def _mostly_numbers(fields: list[str]) -> bool:
    filled = [text for text in fields if text.strip()]
    return bool(filled) and 2 * sum(number(text) is not None for text in filled) > len(filled)


def _is_header(first: list[str], numeric: tuple[bool, ...]) -> bool:
    """Names over numbers, or a line with no number in which a column is called as columns are."""
    if any(number(text) is not None for text in first):
        return False
    if any(is_number and text.strip() for text, is_number in zip(first, numeric, strict=True)):
        return True
    return any(text.strip().lower() in {*LABEL_COLUMNS, *NUMBERING - {""}, *TEXTS} for text in first)
