"""The lines of a text file, found once and read where they lie."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from collapsecheck.datasets.kinds import UnreadableItemError
from collapsecheck.errors import NotMeasuredError, printable

LONGEST_LINE = 2**20  # bytes: far more than any model reads of one text
LFS = b"version https://git-lfs"
_BOM = b"\xef\xbb\xbf"
_TRIED = 4096


class LineFile(Sequence[str]):
    """Lines that are not blank, by their number among these; holds eight bytes for each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._starts = array("q")
        try:
            with path.open("rb") as file:
                self._starts.extend(_starts(file))
        except OSError as error:
            raise NotMeasuredError(f"{printable(str(path))}: cannot be read: {error.strerror}") from error

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, item: int) -> str:  # type: ignore[override]  # nobody asks for slices
        """Return one line without its end.

        Raises
        ------
        UnreadableItemError
            If it is too long, or not UTF-8.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self._starts[item])
                line = file.readline(LONGEST_LINE + 1)
        except OSError as error:
            raise UnreadableItemError(f"cannot be read: {error.strerror}") from error
        if len(line) > LONGEST_LINE:
            raise UnreadableItemError(f"the line is longer than {LONGEST_LINE} bytes")
        return decoded(line.rstrip(b"\r\n"))


def decoded(content: bytes) -> str:
    """Return text.

    Raises
    ------
    UnreadableItemError
        If it is not UTF-8.
    """
    try:
        return content.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        raise UnreadableItemError(f"is not UTF-8 text: {error.reason} at byte {error.start}") from error


def is_text(start: bytes) -> bool:
    """Whether a file that begins so can be text: UTF-8 that may be cut off, without a zero byte."""
    try:
        start.decode()
    except UnicodeDecodeError as error:
        if len(start) < _TRIED or error.start < len(start) - 4:
            return False
    return bool(start) and b"\0" not in start


def refuse_pointer(path: Path, start: bytes) -> None:
    """Say that a pointer of Git LFS is not the data.

    Raises
    ------
    NotMeasuredError
        If the file is one.
    """
    if start.startswith(LFS):
        raise NotMeasuredError(f"{printable(str(path))}: a Git LFS pointer, not the data; run `git lfs pull`")


def _starts(file: BinaryIO) -> Iterator[int]:
    """Yield where lines begin that are not blank; one without an end takes no more memory than others."""
    at, begins = 0, True
    while piece := file.readline(LONGEST_LINE):
        if begins and piece.removeprefix(_BOM).strip():
            yield at
        at += len(piece)
        begins = piece.endswith(b"\n")
