from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

Write = Callable[[str, bytes], Path]


class Touch:
    """Unpickling this makes a file: the proof that something ran."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "ran"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def inner(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return inner


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {"weight": torch.randn(3, 2), "bias": torch.randn(3)}


@pytest.fixture(params=["zip", "legacy", "plain"])
def hostile(request: pytest.FixtureRequest, tmp_path: Path, marker: Path) -> Path:
    """A pickle that runs code when it is opened, in each of the ways in which pickles are stored."""
    path = tmp_path / "model.pt"
    content = {"weight": torch.ones(2), "extra": Touch(marker)}
    if request.param == "plain":
        path.write_bytes(pickle.dumps({"extra": Touch(marker)}))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=request.param == "zip")
    return path
