from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from collapsecheck.datasets import OpenOptions, UnreadableItemError, open_items
from collapsecheck.errors import NotMeasuredError, UsageError


def saved(tmp_path: Path, rows: list[Any], name: str = "x.jsonl") -> Path:
    (tmp_path / name).write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return tmp_path / name


def test_texts_with_labels(tmp_path: Path) -> None:
    items = open_items(saved(tmp_path, [{"text": "b\u00e4r", "label": 3}, {"text": "two", "label": 1}, {"label": 1}]))
    assert (items.kind, items.classes, items.note) == ("json-lines", ("1", "3"), "column text (labels: label)")
    assert items.labels is not None and items.labels.tolist() == [1, 0, 0]
    assert pickle.loads(pickle.dumps(items)).read(0) == "b\u00e4r"
    with pytest.raises(UnreadableItemError, match="missing"):
        items.read(2)


def test_the_column_can_be_chosen(tmp_path: Path) -> None:
    path = saved(tmp_path, [{"question": "a?", "answer": "b", "meta": {"x": 1}}] * 3)
    with pytest.raises(UsageError, match="Choose with --column; columns: question"):
        open_items(path)
    assert open_items(path, options=OpenOptions(column="answer")).read(0) == "b"
    with pytest.raises(UsageError, match="did you mean 'answer'"):
        open_items(path, options=OpenOptions(column="answr"))


def test_lines_that_are_strings_and_lists_of_numbers(tmp_path: Path) -> None:
    assert open_items(saved(tmp_path, ['"one"', '"two"'])).read(1) == "two"
    rows: Any = open_items(saved(tmp_path, [{"vector": [1.0, 2.5]}, {"vector": [3, 4]}]))
    assert rows.rows([0, 1]).tolist() == [[1.0, 2.5], [3.0, 4.0]]
    assert open_items(saved(tmp_path, [{"a": 1, "b": 2.5}])).read(0).tolist() == [1.0, 2.5]


@pytest.mark.parametrize("line", ["{", "[" * 100_000, "1" * 10_000, "[1]", "NaN", '{"text": 5}'])
def test_a_line_that_is_damaged_is_named(tmp_path: Path, line: str) -> None:
    items = open_items(saved(tmp_path, [{"text": "fine"}, line, {"text": "fine too"}]))
    with pytest.raises(UnreadableItemError):
        items.read(1)
    assert items.read(2) == "fine too"


def test_a_file_without_one_object(tmp_path: Path) -> None:
    with pytest.raises(NotMeasuredError, match="not one of the first lines"):
        open_items(saved(tmp_path, ["1", "2"]))


def test_a_json_file_of_objects_is_read_and_another_is_not(tmp_path: Path) -> None:
    assert open_items(saved(tmp_path, [{"text": "a"}], "x.json")).kind == "json-lines"
    with pytest.raises(UsageError, match="no data that can be read"):
        open_items(saved(tmp_path, ["{", '"a": 1', "}"], "y.json"))
