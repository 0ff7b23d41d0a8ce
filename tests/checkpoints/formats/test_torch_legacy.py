from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from collapsecheck.checkpoints import ModuleRecord, read_checkpoint
from collapsecheck.errors import NotLoadableError


def save(content: object, path: Path) -> bytes:
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path.read_bytes()


def test_reads_what_old_torch_wrote(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    save(weights, tmp_path / "model.pt")
    checkpoint = read_checkpoint(tmp_path / "model.pt")
    assert checkpoint.format == "torch-legacy"
    assert torch.equal(checkpoint.content["bias"].tensor(), weights["bias"])


def test_every_cut_is_refused(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "model.pt"
    content = save(weights, path)
    for end in range(14, len(content), 41):
        path.write_bytes(content[:end])
        with pytest.raises(NotLoadableError) as caught:
            read_checkpoint(path)
        assert str(caught.value).isprintable()


def test_a_whole_module_is_read_without_its_code(tmp_path: Path) -> None:
    linear = nn.Linear(2, 2)
    save(linear, tmp_path / "model.pt")  # with the source code of the class beside it
    content = read_checkpoint(tmp_path / "model.pt").content
    assert isinstance(content, ModuleRecord)
    assert content.path == "torch.nn.modules.linear.Linear"
    assert torch.equal(content.state_dict()["weight"].tensor(), linear.weight)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol(tmp_path: Path, weights: dict[str, torch.Tensor], protocol: int) -> None:
    path = tmp_path / "model.pt"
    torch.save(weights, path, _use_new_zipfile_serialization=False, pickle_protocol=protocol)
    checkpoint = read_checkpoint(path)
    assert checkpoint.format == "torch-legacy"
    assert all(torch.equal(checkpoint.content[name].tensor(), weights[name]) for name in weights)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.float8_e4m3fn])
def test_views_of_shared_storages(tmp_path: Path, dtype: torch.dtype) -> None:
    whole = torch.arange(12).reshape(3, 4).to(dtype)
    saved = {"odd": torch.ones(3, dtype=torch.uint8), "whole": whole, "turned": whole.t(), "part": whole[1:, 2]}
    save(saved, tmp_path / "model.pt")  # the odd one puts the others off their alignment
    content = read_checkpoint(tmp_path / "model.pt").content
    for name, tensor in saved.items():
        read = content[name].tensor()
        assert read.dtype == tensor.dtype
        assert torch.equal(read.to(torch.float64), tensor.to(torch.float64))


def test_a_declared_size_that_is_not_there(tmp_path: Path) -> None:
    """64 GiB declared, 16 bytes stored."""
    path = tmp_path / "model.pt"
    content = save({"w": torch.ones(4)}, path)
    numel = (1 << 34).to_bytes(8, "little")
    path.write_bytes(content[:-24] + numel + content[-16:])
    with pytest.raises(NotLoadableError, match="truncated or damaged"):
        read_checkpoint(path)
    short = content.replace(b"K\x04Nt", b"J\x00\x00\x00\x40Nt")  # and in the pickle as well
    assert short != content
    path.write_bytes(short)
    with pytest.raises(NotLoadableError, match="tensor-out-of-bounds"):
        read_checkpoint(path)


def test_a_view_of_a_storage(tmp_path: Path) -> None:
    """Releases before 0.4 wrote slices of storages as views: (key, offset, numbers)."""
    path = tmp_path / "model.pt"
    content = save({"v": torch.arange(6.0)}, path)
    keyed = re.search(rb"X.{4}\d+q.X\x03\x00\x00\x00cpuq.K\x06N", content, re.DOTALL)
    assert keyed is not None
    view = b"X\x01\x00\x00\x001K\x02K\x03\x87"
    path.write_bytes(content.replace(keyed[0], keyed[0][:-1] + view).replace(b"K\x00K\x06\x85", b"K\x00K\x03\x85"))
    assert read_checkpoint(path).content["v"].tensor().tolist() == [2, 3, 4]
