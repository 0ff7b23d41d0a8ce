from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from collapsecheck.checkpoints import HeldTensor, MappedTensor, read_checkpoint
from collapsecheck.checkpoints.stored_numbers import one_number, small_numbers
from collapsecheck.errors import NotLoadableError

DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16,
    torch.float32, torch.float64,
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", ["torch", "legacy", "safetensors"])
def test_the_numbers_are_those_of_torch(tmp_path: Path, form: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    tensors = {"other": torch.ones(3), "w": (torch.randn(3, 4) * 3).abs().to(dtype), "n": torch.tensor(1).to(dtype)}
    path = tmp_path / "x"
    if form == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=form == "torch")
    content = read_checkpoint(path).content
    assert list(small_numbers(content["w"]) or ()) == tensors["w"].flatten().tolist()
    assert one_number(content["n"]) == 1


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=20))
def test_held_tensors(values: list[float]) -> None:
    content = torch.tensor(values, dtype=torch.float32).numpy().tobytes()
    assert list(small_numbers(HeldTensor(dtype="float32", shape=(len(values),), content=content)) or ()) == values


def test_views_and_foreign_byte_orders(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(torch.arange(6, dtype=torch.float32).numpy().astype(">f4").tobytes())
    turned = MappedTensor(dtype="float32", shape=(3, 2), file=path, offset=0, strides=(1, 3), big_endian=True)
    assert list(small_numbers(turned) or ()) == [0, 3, 1, 4, 2, 5]
    whole = MappedTensor(dtype="float32", shape=(2, 3), file=path, offset=0, strides=(3, 1), big_endian=True)
    assert list(small_numbers(whole) or ()) == [0, 1, 2, 3, 4, 5]


def test_large_ones_and_those_that_are_no_numbers_are_not_read(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert small_numbers(MappedTensor(dtype="float32", shape=(1 << 40,), file=missing, offset=0)) is None
    assert small_numbers(MappedTensor(dtype="complex64", shape=(2,), file=missing, offset=0)) is None
    assert one_number(MappedTensor(dtype="float32", shape=(2,), file=missing, offset=0)) is None
    assert one_number(MappedTensor(dtype="float32", shape=(0,), file=missing, offset=0)) is None


def test_a_file_that_became_shorter_or_went_away(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\0" * 8)
    stored = MappedTensor(dtype="float32", shape=(4,), file=path, offset=0)
    with pytest.raises(NotLoadableError, match="became shorter"):
        small_numbers(stored)
    path.unlink()
    with pytest.raises(NotLoadableError, match="cannot be read any more"):
        small_numbers(stored)
