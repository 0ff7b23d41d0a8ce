"""What is said of the training on the command line: losses, their settings, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.cli.conftest import Call

PICTURES = {"model": "pictures.pt", "data": "images", "build": "Pictures"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--loss", "triplet"), ("--loss triplet compares items by their classes", "--labels")),
        (("--loss", "circle"), ("--loss circle", "expected one of", "nt-xent", "FILE_OR_MODULE:CALLABLE")),
        (("--loss", "nowhere.py:loss"), ("--loss nowhere.py:loss", "no file")),
        (("--trial", "-1"), ("trial", "0 or more")),
        (("--margin", "wide"), ("--margin",)),
    ],
)
def test_what_is_wrong_is_said_before_anything_slow(
    scan: Call, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    result = scan(*options)
    assert result.code == 2 and result.out == ""
    assert all(word in result.err for word in words)


@pytest.mark.parametrize("loss", ["triplet", "cross-entropy", "sup-con", "vicreg", "nt-xent", "mse", "positive-cosine"])
def test_every_kind_of_loss_on_pictures_with_classes(scan: Call, loss: str) -> None:
    result = scan("--loss", loss, "--format", "json", **PICTURES)
    found = json.loads(result.out)
    assert result.code == 0 and found["outlook"]["numbers"]["loss_here"] is not None
    assert loss in found["outlook"]["sentences"][0]


def test_a_loss_of_ones_own(scan: Call, tmp_path: Path) -> None:
    (tmp_path / "losses.py").write_text("def spread(rows):\n    return -rows.var(0).mean()\n")
    result = scan("--loss", f"{tmp_path / 'losses.py'}:spread", "--format", "json")
    assert result.code == 0 and "losses.py:spread" in json.loads(result.out)["outlook"]["sentences"][0]


def test_one_class_only_has_a_reason(scan: Call, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("0\n" * 200)
    result = scan("--loss", "triplet", "--labels", str(tmp_path / "labels.txt"), "--format", "json")
    found = json.loads(result.out)
    assert result.code == 0 and "at least two classes" in found["outlook"]["sentences"][0]
    assert {one["outcome"] for one in found["findings"] if "gradient" in one["check"]} == {"passed"}


def test_batches_of_one(scan: Call) -> None:
    found = json.loads(scan("--batch-size", "1", "--format", "json").out)
    assert {one["outcome"] for one in found["findings"] if "gradient" in one["check"]} == {"passed"}


def test_a_last_loss_that_gives_a_collapse_away(scan: Call) -> None:
    result = scan("--last-loss", "0.6931", model="one.pt")
    assert "What the training would do from here" in result.out and "ln 2" in " ".join(result.out.split())


@pytest.mark.parametrize("name", ["vanishing-gradient", "exploding-gradient", "cut-gradient", "input-sensitivity"])
def test_checks_of_gradients_can_be_left_out_and_explained(scan: Call, call: Call, name: str) -> None:
    found = json.loads(scan("--ignore", name, "--format", "json").out)
    assert name not in {one["check"] for one in found["findings"]}
    assert "Healthy:" in call("explain", name).out


HARD = '''
import torch
from torch import nn


class Broken(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 1.0 * x

    @staticmethod
    def backward(ctx, gradient):
        raise ValueError("no backward")


class Locked(nn.Module):
    """Holds what cannot be copied."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 16)
        self.stream = (number for number in ())

    def forward(self, x):
        return self.net(x)


class Failing(nn.Module):
    """Has a backward that fails."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 16)

    def forward(self, x):
        return Broken.apply(self.net(x))
'''


@pytest.mark.parametrize("build", ["Locked", "Failing"])
@pytest.mark.parametrize("loss", [(), ("--loss", "triplet")])
def test_a_model_that_cannot_be_differentiated_is_scanned_all_the_same(
    call: Call, tmp_path: Path, build: str, loss: tuple[str, ...]
) -> None:
    """Once found: a collapsed model that holds a generator, or whose backward fails, ended the scan with code 5."""
    (tmp_path / "hard.py").write_text(HARD)
    torch.manual_seed(0)
    torch.save({"net.weight": 1e-6 * torch.randn(16, 8), "net.bias": torch.ones(16)}, tmp_path / "hard.pt")
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "inputs.npy", np.random.default_rng(0).standard_normal((200, 8)).astype("float32"))
    np.save(tmp_path / "data" / "labels.npy", np.arange(200) % 4)
    at = ("scan", tmp_path / "hard.pt", tmp_path / "data", "--model-def", f"{tmp_path / 'hard.py'}:{build}")
    result = call(*at, "--workers", "0", "--format", "json", *loss)
    found = json.loads(result.out)
    assert result.code == 1 and found["verdict"]["status"] == "collapsed"
    outcomes = {one["outcome"] for one in found["findings"] if one["check"] == "vanishing-gradient"}
    assert outcomes == {"skipped"}
