from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from collapsecheck.checkpoints import read_checkpoint
from collapsecheck.errors import NotLoadableError


def test_reads_tensors_and_notes(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "model.pt"  # the name says otherwise
    save_file(weights, path, metadata={"format": "pt"})
    checkpoint = read_checkpoint(path)
    assert checkpoint.format == "safetensors-file"
    assert checkpoint.metadata == {"format": "pt"}
    assert all(torch.equal(checkpoint.content[name].tensor(), weights[name]) for name in weights)


def test_a_header_that_begins_like_a_pickle(tmp_path: Path) -> None:
    """A header of 640 bytes: the file begins `80 02`."""
    header = {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    text = json.dumps(header).ljust(640).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert read_checkpoint(path).content["w"].tensor().tolist() == [0]


@pytest.mark.parametrize("missing", [1, 8, 30])
def test_a_truncated_file(tmp_path: Path, weights: dict[str, torch.Tensor], missing: int) -> None:
    path = tmp_path / "model.safetensors"
    save_file(weights, path)
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(NotLoadableError, match="truncated or damaged safetensors file"):
        read_checkpoint(path)


def test_a_header_without_end(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes((1000).to_bytes(8, "little") + b"{")
    with pytest.raises(NotLoadableError, match="truncated or damaged safetensors file"):
        read_checkpoint(path)
