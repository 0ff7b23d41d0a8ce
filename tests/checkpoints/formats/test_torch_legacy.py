from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from collapsecheck.checkpoints import read_checkpoint
from collapsecheck.errors import NotLoadableError


def save(content: object, path: Path) -> bytes:
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path.read_bytes()


def test_reads_what_old_torch_wrote(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    save(weights, tmp_path / "model.pt")
    checkpoint = read_checkpoint(tmp_path / "model.pt")
    assert checkpoint.format == "torch-legacy"
    assert torch.equal(checkpoint.content["bias"], weights["bias"])


def test_every_cut_is_refused(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "model.pt"
    content = save(weights, path)
    for end in range(14, len(content), 41):
        path.write_bytes(content[:end])
        with pytest.raises(NotLoadableError) as caught:
            read_checkpoint(path)
        assert str(caught.value).isprintable()


def test_a_whole_module_is_refused(tmp_path: Path) -> None:
    save(nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(NotLoadableError, match=r"\(torch.nn.modules.linear.Linear\), which was refused"):
        read_checkpoint(tmp_path / "model.pt")
