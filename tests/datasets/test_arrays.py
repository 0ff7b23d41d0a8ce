from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from collapsecheck.datasets.arrays import pick, read_arrays
from collapsecheck.errors import CollapsecheckError, NotMeasuredError, UsageError


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def test_object_arrays_are_refused_and_never_unpickled(tmp_path: Path) -> None:
    bomb = np.array([Bomb(tmp_path / "made")], dtype=object)
    np.save(tmp_path / "x.npy", bomb, allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=bomb)
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(Bomb(tmp_path / "made")))
    for name in ("x.npy", "x.npz", "pickle.npy"):
        with pytest.raises(UsageError, match="never loaded") as caught:
            read_arrays(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pt_file_is_refused_and_never_run(tmp_path: Path, zipped: bool) -> None:
    torch.save({"x": Bomb(tmp_path / "made")}, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UsageError, match="never loaded") as caught:
        read_arrays(tmp_path / "x.pt")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "made").exists()


def test_a_pickle_beside_the_inputs_of_a_npz_is_not_touched(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.ones(3), meta=np.array([{"a": 1}], dtype=object))
    assert set(read_arrays(tmp_path / "x.npz")) == {"x"}


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.pt"])
@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"])
def test_empty_files_and_lfs_pointers_cannot_be_measured(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NotMeasuredError, match=name):
        read_arrays(tmp_path / name)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.pt"])
@pytest.mark.parametrize("content", [b"just text", b"PK\x03\x04 but no zip", b"\x93NUMPY but no header", b"\x80\x04N."])
def test_foreign_bytes_give_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CollapsecheckError, match=name) as caught:
        read_arrays(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.pt"])
def test_truncated_files_give_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    array = np.random.default_rng(0).normal(size=(50, 4))
    if name == "x.npy":
        np.save(path, array)
    elif name == "x.npz":
        np.savez(path, x=array)
    else:
        torch.save(torch.from_numpy(array), path)
    whole = path.read_bytes()
    for length in (5, 60, 100, len(whole) // 2, len(whole) - 9):
        path.write_bytes(whole[:length])
        with pytest.raises(CollapsecheckError, match=name) as caught:
            read_arrays(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("held", [{"layer.weight": torch.ones(2), "layer.bias": torch.ones(2)}, "text", 3, [1, 2, 3]])
def test_a_pt_file_without_inputs_says_so(tmp_path: Path, held: Any) -> None:
    torch.save(held, tmp_path / "x.pt")
    with pytest.raises(UsageError, match="is it a checkpoint"):
        read_arrays(tmp_path / "x.pt")


def test_sparse_and_complex_tensors_are_refused(tmp_path: Path) -> None:
    for tensor in (
        torch.eye(3).to_sparse(),
        torch.ones(2, dtype=torch.complex64),
        torch.ones(2, device="meta"),
    ):
        torch.save(tensor, tmp_path / "x.pt")
        with pytest.raises(UsageError):
            read_arrays(tmp_path / "x.pt")


def test_a_key_that_takes_hours_to_hash(tmp_path: Path) -> None:
    """A tuple of 2⁴⁰ parts, in 200 bytes; torch's own reader would hash it."""
    torch.save({"x": torch.ones(3, 2), "k": 1}, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "x.pt").read_bytes()
    deep = b"K\x01" + b"2\x86" * 40
    (tmp_path / "x.pt").write_bytes(content.replace(b"X\x01\x00\x00\x00k", deep))
    found = read_arrays(tmp_path / "x.pt")
    assert list(found) == ["x"] and found["x"].tolist() == [[1, 1]] * 3


def test_a_view_that_declares_a_terabyte(tmp_path: Path) -> None:
    torch.save(torch.ones(1).expand(1 << 20, 1 << 20), tmp_path / "x.pt")
    with pytest.raises(UsageError, match="none that repeats its elements"):
        read_arrays(tmp_path / "x.pt")


def test_a_npz_that_unpacks_to_far_more_than_it_has(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((1 << 15, 1 << 9), np.float64))
    with pytest.raises(NotMeasuredError, match=r"x\.npy would unpack from [\d,]+ to 134,217,856 bytes"):
        read_arrays(tmp_path / "x.npz")
    honest = np.random.default_rng(0).integers(0, 2, (1 << 12, 64)).astype(np.float64)
    np.savez_compressed(tmp_path / "y.npz", x=honest)
    assert np.array_equal(read_arrays(tmp_path / "y.npz")["x"], honest)


def test_a_npy_that_declares_more_than_it_holds(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 8), np.float32))
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(content.replace(b"(1, 8), }" + b" " * 12, b"(137438953472, 8), }" + b" "))
    with pytest.raises(NotMeasuredError, match="more than the 32 bytes held"):
        read_arrays(tmp_path / "x.npy")


def test_what_is_picked() -> None:
    one, two = np.ones(1), np.ones(2)
    assert pick({"y": one, "x": two}, ("x",)) is two
    assert pick({"": one}, ("x",)) is one
    assert pick({"unknown": one}, ("x",)) is one
    assert pick({"labels": one}, ("x", "inputs")) is None
    assert pick({}, ("x",)) is None
