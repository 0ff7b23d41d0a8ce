from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapsecheck.datasets import OpenOptions, open_items
from collapsecheck.datasets.kinds import Rows, Texts
from collapsecheck.errors import CollapsecheckError, NotMeasuredError, UsageError

from .conftest import GIB, Limit, everything


def opened(path: Path, text: str | bytes, column: str | None = None) -> Rows:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    items = open_items(path, options=OpenOptions(column=column))
    assert isinstance(items, Rows) and items.kind == "csv-table"
    return items


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.data"])
def test_numbers_with_any_delimiter(tmp_path: Path, delimiter: str, header: bool, name: str) -> None:
    values = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    lines = [delimiter.join(str(value) for value in row) for row in values]
    items = opened(tmp_path / name, "\n".join([delimiter.join("abc")] * header + lines))
    np.testing.assert_array_equal(items.rows(range(20)).numpy(), values)
    assert items.note == ("columns a, b, c" if header else "columns 0, 1, 2")


def test_labels_and_numbering_are_no_inputs(tmp_path: Path) -> None:
    items = opened(tmp_path / "x.csv", "id,a,b,Label\n0,1.5,2,dog\n1,2.5,3,cat\n2,3.5,4,dog\n")
    assert items.rows([0, 2]).tolist() == [[1.5, 2.0], [3.5, 4.0]]
    assert items.labels is not None and items.labels.tolist() == [1, 0, 1] and items.classes == ("cat", "dog")
    assert items.note == "columns a, b (labels: Label)"
    numbers = opened(tmp_path / "y.csv", "a,label\n" + "".join(f"0.5,{i}\n" for i in (10, 9, 10)))
    assert numbers.classes == ("9", "10")


def test_whole_numbers_may_be_token_ids(tmp_path: Path) -> None:
    assert opened(tmp_path / "x.csv", "1,2\n3,4\n").dtype == torch.int64
    assert opened(tmp_path / "y.csv", "1,2\n3,4.5\n").dtype == torch.float32
    assert opened(tmp_path / "z.csv", "1,2\n3,99999999999\n").dtype == torch.float32


def test_a_column_can_be_chosen(tmp_path: Path) -> None:
    text = "a,b,label\n1.5,2.5,x\n3.5,4.5,y\n"
    assert opened(tmp_path / "x.csv", text, column="b").rows([0, 1]).tolist() == [[2.5], [4.5]]
    with pytest.raises(UsageError, match="no such column; known are: a, b, label"):
        opened(tmp_path / "x.csv", text, column="zzz")


def test_texts(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('text,label,score\n"one, two",a,0.5\n"three\nfour",b,0.7\n')
    items = open_items(tmp_path / "x.csv")
    assert isinstance(items, Texts) and [items.read(i) for i in range(2)] == ["one, two", "three\nfour"]
    assert items.labels is not None and items.labels.tolist() == [0, 1]
    (tmp_path / "y.csv").write_text("name,street\nAnn,Elm\nBob,Oak\n")
    with pytest.raises(UsageError, match="which column is the input"):
        open_items(tmp_path / "y.csv")


def test_nan_is_a_value_and_reaches_the_scan(tmp_path: Path) -> None:
    items = opened(tmp_path / "x.csv", "a,b\n1,nan\n2,inf\n3,1e400\n4,5\n")
    rows = items.rows(range(4))
    assert torch.isnan(rows[0, 1]) and torch.isinf(rows[1, 1]) and torch.isinf(rows[2, 1]) and rows[3, 1] == 5


def test_lines_that_do_not_fit_are_unreadable(tmp_path: Path) -> None:
    items = opened(tmp_path / "x.csv", "a,b,label\n1,2,x\n3,,x\n5,six,y\n7,8\n9,10,\n11,12,y\n13,14,y\n15,16,x\n")
    values, failed = everything(items)
    assert values == [1, 11, 13, 15]
    assert failed == {
        "1": "line 3, column b: '' is no number",
        "2": "line 4, column b: 'six' is no number",
        "3": "line 5 has 2 fields, expected 3",
        "4": "has no label",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'a,b\n1,2\n3,"' + b"x" * 200_000, "line 3: field larger than field limit"),
        (b'a,b\n1,2\n3,"' + b"x\n" * 200_000, "field larger than field limit .*is a quote left open"),
        (b"a,b\n1,2\n" + b"1" * (2**24 + 10), "line 3 is longer than 16777216 characters"),
        (b"a,b\n" + b"1,2\n" * 20_000 + b"\xff,1\n", "is not UTF-8 text"),
        (b"\xff\xfe\x00", "no table in UTF-8"),
        (b"a,b\n1,\x002\n", "no table in UTF-8"),
        (b"", "empty"),
        (b"a,b\n", "no column can be the input|no rows|which column"),
        (b"a,a\n1,2\n", "same name"),
        (b"version https://git-lfs.github.com/spec/v1\noid x\n", "git lfs pull"),
    ],
)
def test_what_has_no_end_or_is_no_table(tmp_path: Path, memory_limit: Limit, content: bytes, message: str) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with memory_limit(GIB), pytest.raises((NotMeasuredError, UsageError), match=message):
        open_items(tmp_path / "x.csv")


def test_plain_text_is_not_taken_for_a_table(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("hello, you\nthere, too\n")
    with pytest.raises(CollapsecheckError):
        assert open_items(tmp_path / "notes.md").kind != "csv-table"
        raise UsageError("another kind reads it")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_reported(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    path.write_bytes(content)
    try:
        assert len(open_items(path)) > 0
    except CollapsecheckError as error:
        assert str(error).isprintable()
