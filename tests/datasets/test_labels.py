from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from collapsecheck.datasets.labels import encode, read_labels
from collapsecheck.errors import UsageError

NAMES = ["cat/1.png", "cat/2.png", "dog/1.png"]


def written(tmp_path: Path, text: str, suffix: str = "csv") -> Path:
    path = tmp_path / f"given.{suffix}"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("header", ["", "name,label\n", "Filename,Class\n", "\ufeffname,label\n"])
def test_csv_lines_are_matched_by_name_in_any_order(tmp_path: Path, header: str) -> None:
    path = written(tmp_path, header + "dog/1.png,b\n\ncat/1.png, a\n2.png,b\n")
    labels, classes = read_labels(path, NAMES)
    assert labels.tolist() == [0, 1, 1] and classes == ("a", "b")


def test_csv_of_rows_by_number(tmp_path: Path) -> None:
    labels, classes = read_labels(written(tmp_path, "2,5\n0,10\n1,5\n"), ["0", "1", "2"])
    assert labels.tolist() == [1, 0, 0] and classes == ("5", "10")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat/1.pgn,a\n", r"no item is called 'cat/1.pgn'; did you mean 'cat/1.png'\?"),
        ("zzzzzzz,a\n", r"no item is called 'zzzzzzz'; items are called like 'cat/1.png'"),
        ("1.png,a\n", "'1.png' alone: 2 items end so"),
        ("cat/1.png\n", "lines must read name,label; found 'cat/1.png'"),
        ("cat/1.png,a\ncat/1.png,b\n", "two different labels for 'cat/1.png'"),
        ("cat/1.png,a\n", "no label for 2 of 3 items, the first is 'cat/2.png'"),
        ("", "no label for 3 of 3 items"),
    ],
)
def test_csv_errors_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_labels(written(tmp_path, text), NAMES)


def test_text_has_one_label_a_line(tmp_path: Path) -> None:
    labels, classes = read_labels(written(tmp_path, "10\n9\n10\n\n", "txt"), NAMES)
    assert labels.tolist() == [1, 0, 1] and classes == ("9", "10")
    with pytest.raises(UsageError, match="2 labels for 3 items"):
        read_labels(written(tmp_path, "a\nb\n", "txt"), NAMES)


def test_labels_with_leading_zeros_stay_text(tmp_path: Path) -> None:
    assert read_labels(written(tmp_path, "01\n1\n01\n", "txt"), NAMES)[1] == ("01", "1")


@pytest.mark.parametrize(
    "values",
    [
        np.array([4, -1, 4]),
        np.array([[4], [-1], [4]]),
        np.array([4.0, -1.0, 4.0]),
        torch.tensor([4, -1, 4], dtype=torch.int8),
        torch.tensor([4, -1, 4], dtype=torch.bfloat16),
    ],
)
def test_numbers_become_classes(values: Any) -> None:
    labels, classes = encode(values, Path("given.npy"), 3)
    assert labels.tolist() == [1, 0, 1] and labels.dtype == np.int64 and classes == ("-1", "4")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([0.5, 1, 2]), "fractions"),
        (np.array([np.nan, 1, 2]), "fractions"),
        (np.array([np.inf, 1, 2]), "fractions"),
        (np.eye(3), "one number for each item"),
        (np.array([1, 2]), "2 labels for 3 items"),
        (np.zeros(3, dtype="c8"), "not complex64"),
    ],
)
def test_values_that_are_no_classes(values: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        encode(values, Path("given.npy"), 3)


def test_arrays_of_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", np.array(["b", "a", "b"]))
    assert read_labels(tmp_path / "y.npy", NAMES)[1] == ("a", "b")
    np.save(tmp_path / "z.npy", np.array([b"b", b"a", b"b"]))
    assert read_labels(tmp_path / "z.npy", NAMES)[1] == ("a", "b")
    np.savez(tmp_path / "y.npz", x=np.ones(3), y=np.array([1, 1, 2]))
    assert read_labels(tmp_path / "y.npz", NAMES)[0].tolist() == [0, 0, 1]
    np.savez(tmp_path / "x.npz", x=np.ones(3))
    with pytest.raises(UsageError, match="no array called labels"):
        read_labels(tmp_path / "x.npz", NAMES)


def test_files_that_are_no_labels(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_labels(tmp_path / "none.csv", NAMES)
    with pytest.raises(UsageError, match="labels are read from"):
        read_labels(written(tmp_path, "", "json"), NAMES)
    (tmp_path / "x.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        read_labels(tmp_path / "x.txt", NAMES)
