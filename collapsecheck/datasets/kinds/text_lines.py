"""Files of text, one on each line."""

from __future__ import annotations

from pathlib import Path

from collapsecheck.datasets.folders import first_bytes
from collapsecheck.datasets.kinds import DataKind, Texts
from collapsecheck.datasets.line_file import LineFile, is_text, refuse_pointer
from collapsecheck.datasets.open_options import NO_OPTIONS, OpenOptions
from collapsecheck.datasets.row_names import RowNames
from collapsecheck.errors import NotMeasuredError, printable

SUFFIXES = (".txt", ".text")
_SEEN = 4096


class TextLines(DataKind):
    """A .txt file in UTF-8: every line that is not blank is one text."""

    expects = "a .txt file with one text on each line"

    def recognises(self, path: Path) -> bool:
        """Its suffix, and text in it."""
        return path.suffix.lower() in SUFFIXES and path.is_file() and is_text(first_bytes(path, _SEEN))

    def open(self, path: Path, options: OpenOptions = NO_OPTIONS) -> Lines:  # noqa: ARG002 - there is nothing to choose
        """Find the lines."""
        refuse_pointer(path, first_bytes(path, _SEEN))
        lines = Lines(LineFile(path))
        if not len(lines):
            raise NotMeasuredError(f"{printable(str(path))}: all lines are blank")
        return lines


class Lines(Texts):
    """The lines of one file."""

    note = "one text on each line"

    def __init__(self, lines: LineFile) -> None:
        self._lines = lines
        self.names = RowNames(len(lines))

    def read(self, item: int) -> str:
        """Return one line."""
        return self._lines[item]
