"""Folders of text files."""

from __future__ import annotations

from pathlib import Path

from collapsecheck.datasets.folders import file_names, folder_labels
from collapsecheck.datasets.kinds import DataKind, Items, Texts, UnreadableItemError
from collapsecheck.datasets.kinds.text_lines import SUFFIXES, TextLines
from collapsecheck.datasets.line_file import decoded
from collapsecheck.datasets.open_options import NO_OPTIONS, OpenOptions

MOST_BYTES = 2**20


class TextFolder(DataKind):
    """Text files in a folder, at any depth, each of which is one text; class sub-folders give labels.

    Where there is only one file, its lines are the texts.
    """

    expects = "a folder of .txt files"

    def recognises(self, path: Path) -> bool:
        """A folder with text files, which are not the notes beside shards of a tar."""
        if not path.is_dir() or next(file_names(path, SUFFIXES), None) is None:
            return False
        return next(file_names(path, (".tar",)), None) is None

    def open(self, path: Path, options: OpenOptions = NO_OPTIONS) -> Items:
        """List the files in alphabetical order of their relative paths."""
        names = sorted(file_names(path, SUFFIXES))
        return TextLines().open(path / names[0], options) if len(names) == 1 else TextItems(path, names)


class TextItems(Texts):
    """The files below `root` with these relative names."""

    note = "one text in each file"

    def __init__(self, root: Path, names: list[str]) -> None:
        self.root = root
        self.names = names
        self.labels, self.classes = folder_labels(names)

    def read(self, item: int) -> str:
        """Return all of one file."""
        try:
            with (self.root / self.names[item]).open("rb") as file:
                content = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise UnreadableItemError(f"cannot be read: {error.strerror}") from error
        if len(content) > MOST_BYTES:
            raise UnreadableItemError(f"the text is longer than {MOST_BYTES} bytes")
        text = decoded(content)
        if not text.strip():
            raise UnreadableItemError("is empty")
        return text
