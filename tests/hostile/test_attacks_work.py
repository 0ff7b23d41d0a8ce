"""What is refused would run where a file is trusted: otherwise the other tests here would prove nothing."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.hostile.attacks import ATTACKS, MARKER, prepare

# Trusting on purpose: each file here was written by this test, and only makes an empty file beside itself.
TRUSTING: dict[str, Callable[[Path], Any]] = {
    "code: torch zip, protocol 2": lambda path: torch.load(path, weights_only=False),
    "code: torch legacy, protocol 2": lambda path: torch.load(path, weights_only=False),
    "code: TorchScript __setstate__": torch.jit.load,
    "code: .pt2, sample inputs": torch.export.load,
}


@pytest.mark.parametrize("name", TRUSTING)
def test_it_runs_where_it_is_trusted(tmp_path: Path, name: str) -> None:
    prepare(tmp_path)
    own = tmp_path / "own"
    own.mkdir()
    command = ATTACKS[name](own)
    assert not (own / MARKER).exists()
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # of no use afterwards, but the code has run
        warnings.simplefilter("ignore")
        TRUSTING[name](Path(command[1]))
    assert (own / MARKER).exists()
