from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch

from collapsecheck.datasets import OpenOptions
from collapsecheck.datasets.kinds import Pictures, Rows, Texts, UnreadableItemError
from collapsecheck.datasets.user_dataset import open_user_dataset
from collapsecheck.errors import NotMeasuredError, UsageError

from .kinds.conftest import everything

CODE = """
import sys
import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import beside

print("imported")
X = torch.arange(12.0)[:, None].repeat(1, 3)
Y = torch.arange(12) % 3


def pairs():
    print("built")
    return TensorDataset(X, Y)


class Items(Dataset):
    def __init__(self, make, count=12, **attributes):
        self.make, self.count = make, count
        self.reads = 0
        self.__dict__.update(attributes)

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        self.reads += 1
        return self.make(i)


def alone():
    return Items(lambda i: X[i])


def arrays():
    return Items(lambda i: (np.full(3, i), "odd" if i % 2 else "even"))


def dicts():
    return Items(lambda i: {"pixel_values": X[i], "other": X[i] + 100, "labels": torch.tensor([i % 3])})


def unnamed():
    return Items(lambda i: {"a": X[i]})


def pictures():
    return Items(lambda i: (Image.new("L", (4, 3), i), i % 2))


def texts():
    return Items(lambda i: (f"text {i}", i % 2))


def with_targets():
    return Items(lambda i: (X[i], 1 / 0 if i == 5 else 0), targets=[i % 4 for i in range(12)])


def many():
    return Items(lambda i: (X[0], 1), count=20_000)


def partly():
    return Items(lambda i: (X[i], None if i == 2 else 1))


def objects():
    return Items(lambda i: object())


def ragged():
    return Items(lambda i: torch.ones(3 + (i == 4)))


def empty():
    return []


def number():
    return 7


def stream():
    class Stream(IterableDataset):
        def __iter__(self):
            yield X[0]
    return Stream()


def fails():
    raise ValueError("no such\\nfolder")


def quits():
    sys.exit(0)


def all_fail():
    return Items(lambda i: 1 / 0)
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/beside.py").write_text("")
    (tmp_path / "code/mine.py").write_text(CODE)
    return tmp_path / "code/mine.py"


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("pairs", ("0", "1", "2")),
        ("alone", ()),
        ("arrays", ("even", "odd")),
        ("dicts", ("0", "1", "2")),
        ("pictures", ("0", "1")),
    ],
)
def test_every_form_of_items(code: Path, capsys: pytest.CaptureFixture[str], name: str, classes: tuple[str]) -> None:
    items = open_user_dataset(f"{code}:{name}")
    assert items.kind == "user-dataset" and items.classes == classes
    assert isinstance(items, Pictures if name == "pictures" else Rows)
    assert everything(items) == (list(range(12)), {})
    assert capsys.readouterr().out == ""  # stdout belongs to the report


def test_texts(code: Path) -> None:
    items = open_user_dataset(f"{code}:texts")
    assert isinstance(items, Texts) and items.read(3) == "text 3" and items.classes == ("0", "1")


def test_the_entry_of_a_dict(code: Path) -> None:
    assert everything(open_user_dataset(f"{code}:dicts", options=OpenOptions(column="other")))[0][0] == 100
    with pytest.raises(UsageError, match="--column othr: no such entry; did you mean 'other'"):
        open_user_dataset(f"{code}:dicts", options=OpenOptions(column="othr"))
    with pytest.raises(UsageError, match="choose with --column: a"):
        open_user_dataset(f"{code}:unnamed")
    with pytest.raises(UsageError, match="--column applies to a data set of dicts"):
        open_user_dataset(f"{code}:pairs", options=OpenOptions(column="a"))
    with pytest.raises(UsageError, match="--seconds applies to sounds"):
        open_user_dataset(f"{code}:pairs", options=OpenOptions(seconds=1.0))


def test_labels_of_an_attribute_are_taken_without_reading(code: Path) -> None:
    items = open_user_dataset(f"{code}:with_targets")
    assert items.classes == ("0", "1", "2", "3")
    values, failed = everything(items)
    assert values == [i for i in range(12) if i != 5] and failed == {"5": "ZeroDivisionError: division by zero"}


def test_items_are_not_all_read_twice_for_their_labels(code: Path) -> None:
    items = open_user_dataset(f"{code}:many")
    assert items.labels is None and "no attribute `targets`" in items.note
    assert items.source._build().reads < 100  # type: ignore[attr-defined]


def test_a_labels_file(code: Path, tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("".join(f"{i % 2}\n" for i in range(12)))
    assert open_user_dataset(f"{code}:pairs", tmp_path / "l.txt").classes == ("0", "1")


def test_single_items_may_fail(code: Path) -> None:
    assert everything(open_user_dataset(f"{code}:partly"))[1] == {"2": "has no label"}
    assert everything(open_user_dataset(f"{code}:ragged"))[1] == {"4": "has the shape [4], others have [3]"}


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_build_the_data_set_for_themselves(code: Path, start: str) -> None:
    items = open_user_dataset(f"{code}:pairs")
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(start, force=True)
    try:
        assert everything(items, workers=1) == (list(range(12)), {})
    finally:
        multiprocessing.set_start_method(before, force=True)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("pair", UsageError, "did you mean 'pairs'"),
        ("empty", NotMeasuredError, "the data set is empty"),
        ("number", UsageError, "returned int; expected a map-style data set"),
        ("stream", UsageError, "len|map-style"),
        ("fails", UsageError, "failed: ValueError: no such"),
        ("quits", UsageError, "failed: SystemExit"),
        ("all_fail", NotMeasuredError, "can be read: ZeroDivisionError"),
        ("objects", UsageError, "items must be tensors, arrays, PIL images or texts, not object"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(code: Path, name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        open_user_dataset(f"{code}:{name}")
    assert "\n" not in str(caught.value)


def test_items_keep_no_graph(code: Path) -> None:
    code.write_text(
        "import torch\nweight = torch.ones(3, requires_grad=True)\ndef build():\n    return [weight * 2] * 4\n"
    )
    items = open_user_dataset(f"{code}:build")
    assert isinstance(items, Rows) and not items.rows([0]).requires_grad
    with pytest.raises(UnreadableItemError, match="IndexError"):
        items.rows([9])
    assert torch.equal(items.read(1), torch.full((3,), 2.0))
