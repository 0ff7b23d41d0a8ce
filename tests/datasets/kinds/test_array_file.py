from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from collapsecheck.datasets import open_items
from collapsecheck.datasets.kinds import Rows
from collapsecheck.datasets.row_names import RowNames
from collapsecheck.errors import NotMeasuredError, UsageError

X = np.random.default_rng(0).normal(size=(5, 3))
Y = np.array([7, 9, 7, 9, 7])


def opened(path: Path) -> Rows:
    items = open_items(path)
    assert isinstance(items, Rows)
    return items


def test_a_npy_file_is_mapped_and_its_rows_are_float32(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    items = opened(tmp_path / "x.npy")
    assert isinstance(items._array, np.memmap)  # type: ignore[attr-defined]
    assert list(items.names) == ["0", "1", "2", "3", "4"] and items.labels is None
    assert torch.equal(items.rows([1, 4]), torch.tensor(X[[1, 4]], dtype=torch.float32))
    assert torch.equal(items.read(2), torch.tensor(X[2], dtype=torch.float32))


@pytest.mark.parametrize("key", ["inputs", "x", "X", "data", "images", "embeddings", "arr_0", "anything"])
def test_npz_keys(tmp_path: Path, key: str) -> None:
    np.savez(tmp_path / "x.npz", **{key: X})
    assert opened(tmp_path / "x.npz").item_shape == (3,)


@pytest.mark.parametrize("key", ["labels", "y", "targets"])
def test_labels_inside_a_npz(tmp_path: Path, key: str) -> None:
    np.savez(tmp_path / "x.npz", x=X, **{key: Y})
    items = opened(tmp_path / "x.npz")
    assert items.labels is not None and items.labels.tolist() == [0, 1, 0, 1, 0]
    assert items.classes == ("7", "9")


@pytest.mark.parametrize(
    "held",
    [
        {"inputs": torch.tensor(X), "labels": torch.tensor(Y), "note": "text"},
        (torch.tensor(X), torch.tensor(Y)),
        [torch.tensor(X), torch.tensor(Y)],
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_pt_dicts_and_pairs(tmp_path: Path, held: Any, zipped: bool) -> None:
    torch.save(held, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    items = opened(tmp_path / "x.pt")
    assert torch.equal(items.rows([0, 3]).double(), torch.tensor(X[[0, 3]]))
    assert items.labels is not None and items.labels.tolist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.uint16, torch.int8, torch.float8_e5m2, torch.bool]
)
def test_pt_of_any_number_type(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.save(torch.tensor([[0, 1], [1, 1]]).to(dtype), tmp_path / "x.pt")
    assert opened(tmp_path / "x.pt").rows([0, 1]).float().tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize("dtype", [">f4", "<f8", "f2", ">i2", "u2", "u8", "i1", "?", "u1"])
def test_npy_of_any_number_type(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "x.npy", np.array([[0, 1], [1, 1]]).astype(dtype))
    rows = opened(tmp_path / "x.npy").rows([1, 0])
    assert rows.float().tolist() == [[1, 1], [0, 1]]
    assert rows.dtype in {torch.float32, torch.int64, torch.bool, torch.uint8}


@pytest.mark.parametrize("suffix", ["npy", "npz", "pt"])
@pytest.mark.parametrize("label_suffix", ["npy", "npz", "pt", "txt", "csv"])
def test_a_folder_with_inputs_and_labels(tmp_path: Path, suffix: str, label_suffix: str) -> None:
    write(tmp_path / f"inputs.{suffix}", X)
    write(tmp_path / f"labels.{label_suffix}", Y)
    items = opened(tmp_path)
    assert items.labels is not None and items.labels.tolist() == [0, 1, 0, 1, 0]


def test_a_folder_without_labels(tmp_path: Path) -> None:
    write(tmp_path / "inputs.npy", X)
    assert opened(tmp_path).labels is None


def test_safetensors(tmp_path: Path) -> None:
    tensors = {"inputs": torch.tensor(X).to(torch.bfloat16), "labels": torch.tensor(Y), "other": torch.zeros(2)}
    save_file(tensors, tmp_path / "x.safetensors")
    items = opened(tmp_path / "x.safetensors")
    assert items.labels is not None and items.labels.tolist() == [0, 1, 0, 1, 0]
    assert torch.equal(items.rows([4, 0]), tensors["inputs"][[4, 0]])
    (tmp_path / "folder").mkdir()
    save_file({"whatever": torch.tensor(X)}, tmp_path / "folder/inputs.safetensors")
    save_file({"labels": torch.tensor(Y)}, tmp_path / "folder/labels.safetensors")
    items = opened(tmp_path / "folder")
    assert items.classes == ("7", "9") and items.item_shape == (3,)


def test_damaged_safetensors_and_those_without_inputs(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"inputs": torch.tensor(X)}, path)
    whole = path.read_bytes()
    for content in (
        whole[:-1],
        (2**60).to_bytes(8, "little") + whole[8:],
        whole.replace(b"[0,120]", b"[0,121]"),
        b"x" * 9,
    ):
        path.write_bytes(content)
        with pytest.raises(NotMeasuredError, match="damaged safetensors"):
            open_items(path)
    save_file({"layer.weight": torch.zeros(2), "layer.bias": torch.zeros(2)}, path)
    with pytest.raises(UsageError, match="holds no array called inputs"):
        open_items(path)


def test_a_npy_under_another_name(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    assert opened((tmp_path / "x.npy").rename(tmp_path / "x.bin")).item_shape == (3,)


def test_two_files_for_one_thing_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "inputs.npy", X)
    write(tmp_path / "inputs.pt", X)
    with pytest.raises(UsageError, match=r"both inputs\.npy and inputs\.pt"):
        open_items(tmp_path)


def test_one_dimension_gives_rows_of_one_value(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(4.0))
    assert opened(tmp_path / "x.npy").rows([2, 3]).tolist() == [[2.0], [3.0]]


def test_targets_of_a_regression_are_no_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=X, y=X[:, 0])
    assert opened(tmp_path / "x.npz").labels is None


def test_a_wrong_number_of_labels_is_an_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=X, y=Y[:3])
    with pytest.raises(UsageError, match="5 inputs, but labels of shape"):
        open_items(tmp_path / "x.npz")


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,)])
@pytest.mark.parametrize("suffix", ["npy", "pt"])
def test_an_array_without_items_cannot_be_measured(tmp_path: Path, shape: tuple[int, ...], suffix: str) -> None:
    write(tmp_path / f"x.{suffix}", np.zeros(shape))
    with pytest.raises(NotMeasuredError, match="empty"):
        open_items(tmp_path / f"x.{suffix}")


@pytest.mark.parametrize("array", [np.float32(3), np.array(["a", "b"]), np.zeros(2, dtype="c8"), np.zeros(2, "M8[s]")])
def test_what_is_no_table_of_numbers_is_refused(tmp_path: Path, array: Any) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(UsageError):
        open_items(tmp_path / "x.npy")


def test_row_names_behave_like_a_list() -> None:
    names = RowNames(1_000_000)
    assert names[999_999] == names[-1] == "999999" and names[1:3] == ["1", "2"]
    assert "17" in names and len(names) == 1_000_000


def write(path: Path, array: np.ndarray[Any, Any]) -> None:
    match path.suffix:
        case ".npy":
            np.save(path, array)
        case ".npz":
            np.savez(path, array)
        case ".pt":
            torch.save(torch.from_numpy(array), path)
        case ".txt":
            path.write_text("".join(f"{value}\n" for value in array))
        case ".csv":
            path.write_text("name,label\n" + "".join(f"{i},{value}\n" for i, value in enumerate(array)))
