from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from collapsecheck.datasets import UnreadableItemError, open_items
from collapsecheck.datasets.line_file import LONGEST_LINE
from collapsecheck.errors import NotMeasuredError

from .conftest import Limit


def saved(tmp_path: Path, content: bytes, name: str = "x.txt") -> Path:
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


def test_one_text_on_each_line(tmp_path: Path) -> None:
    items = open_items(saved(tmp_path, "\ufeffone\r\n\n  \ntwo, b\u00e4r\nthree".encode()))
    assert items.kind == "text-lines"
    assert [items.read(i) for i in range(len(items))] == ["one", "two, b\u00e4r", "three"]
    assert pickle.loads(pickle.dumps(items)).read(1) == "two, b\u00e4r"


def test_a_line_that_is_no_text_or_too_long_is_named(tmp_path: Path) -> None:
    items = open_items(saved(tmp_path, b"fine\n" * 2000 + b"\xff\xfe\n" + b"x" * (LONGEST_LINE + 5) + b"\nlast"))
    assert items.read(2002) == "last"
    with pytest.raises(UnreadableItemError, match="not UTF-8"):
        items.read(2000)
    with pytest.raises(UnreadableItemError, match="longer than"):
        items.read(2001)


def test_a_line_without_an_end_takes_little_memory(tmp_path: Path, memory_limit: Limit) -> None:
    path = tmp_path / "x.txt"
    with path.open("wb") as file:
        for _ in range(128):
            file.write(b"x" * 2**20)
    with memory_limit(64 * 2**20):
        items = open_items(path)
        assert len(items) == 1
        with pytest.raises(UnreadableItemError):
            items.read(0)


@pytest.mark.parametrize("content", [b"\n \n", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"])
def test_nothing_to_read(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(NotMeasuredError):
        open_items(saved(tmp_path, content))


def test_numbers_in_a_txt_file_are_a_table(tmp_path: Path) -> None:
    assert open_items(saved(tmp_path, b"1,2\n3,4\n")).kind == "csv-table"
    assert open_items(saved(tmp_path, b"a b\n")).kind == "text-lines"


def test_a_folder_of_texts_in_class_folders(tmp_path: Path) -> None:
    for name, content in (
        ("good/1.txt", "fine\nday"),
        ("bad/2.txt", "rain"),
        ("bad/3.txt", " "),
        ("bad/4.txt", "\xff"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content.encode("latin-1"))
    items = open_items(tmp_path)
    assert (items.kind, items.names, items.classes) == (
        "text-folder",
        ["bad/2.txt", "bad/3.txt", "bad/4.txt", "good/1.txt"],
        ("bad", "good"),
    )
    assert items.read(3) == "fine\nday"
    for item in (1, 2):
        with pytest.raises(UnreadableItemError):
            items.read(item)


def test_a_folder_with_one_file_has_its_lines(tmp_path: Path) -> None:
    (tmp_path / "all.txt").write_text("one\ntwo\n")
    assert [open_items(tmp_path).read(i) for i in range(2)] == ["one", "two"]
