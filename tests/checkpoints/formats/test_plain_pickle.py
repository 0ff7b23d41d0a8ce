from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from collapsecheck.checkpoints import ModuleRecord, Stand, read_checkpoint
from collapsecheck.errors import NotLoadableError


def dumped(path: Path, content: Any, protocol: int) -> Path:
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_weights_that_were_pickled_without_torch_save(tmp_path: Path, protocol: int) -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).half()
    path = dumped(tmp_path / "model.pkl", {"model": net.state_dict(), "epoch": 3}, protocol)
    checkpoint = read_checkpoint(path)
    assert checkpoint.format == "plain-pickle"
    assert checkpoint.notes == ()
    for name, tensor in net.state_dict().items():
        read = checkpoint.content["model"][name].tensor()
        assert read.dtype == tensor.dtype
        assert torch.equal(read, tensor)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_module_that_was_pickled_without_torch_save(tmp_path: Path, protocol: int) -> None:
    linear = nn.Linear(3, 2)
    content = read_checkpoint(dumped(tmp_path / "model.pkl", linear, protocol)).content
    assert isinstance(content, ModuleRecord)
    assert torch.equal(content.state_dict()["weight"].tensor(), linear.weight)


def test_views_share_what_is_there(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    saved = {"part": base[2:4], "whole": base, "turned": base.reshape(2, 3).t()}
    checkpoint = read_checkpoint(dumped(tmp_path / "model.pkl", saved, 4))
    assert checkpoint.content["part"].tensor().tolist() == [2, 3]
    assert checkpoint.content["whole"].tensor().tolist() == [0, 1, 2, 3, 4, 5]
    assert isinstance(checkpoint.content["turned"], Stand)  # not row after row: left out, and said
    assert [note.id for note in checkpoint.notes] == ["unsupported-tensor"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays(tmp_path: Path, protocol: int) -> None:
    content = read_checkpoint(dumped(tmp_path / "w.pkl", {"w": np.arange(6.0).reshape(2, 3)}, protocol)).content
    assert content["w"].tensor().tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("content", [{"a": [1.0]}, {}, {"a": {"b": (1, "c")}}])
def test_a_pickle_without_weights_says_how_to_save(tmp_path: Path, content: Any) -> None:
    with pytest.raises(NotLoadableError, match=r"without arrays or tensors.*torch.save\(model.state_dict"):
        read_checkpoint(dumped(tmp_path / "model.pkl", content, 4))


def test_damage_within(tmp_path: Path) -> None:
    """The file of torch in the pickle of a tensor is read as carefully as one on the disk."""
    content = pickle.dumps({"w": torch.arange(4.0)}, 4)
    at = content.index(torch.arange(4.0).numpy().tobytes())
    path = tmp_path / "model.pkl"
    for changed in (
        content[: at - 8] + (1 << 40).to_bytes(8, "little") + content[at:],
        content.replace(b"\x8a\x0al\xfc", b"\x8a\x0al\xfd"),
        content.replace(b"FloatStorage", b"QUInt8StoragX"),
    ):
        assert changed != content
        path.write_bytes(changed)
        with pytest.raises(NotLoadableError):
            read_checkpoint(path)


def test_a_call_within(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    with pytest.raises(NotLoadableError, match="which could only be an attack"):
        read_checkpoint(dumped(tmp_path / "model.pkl", {"w": np.ones(2), "x": Attack()}, 4))
    assert not (tmp_path / "ran").exists()
