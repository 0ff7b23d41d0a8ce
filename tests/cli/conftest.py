from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from collapsecheck.cli.entry import run

MODELS = '''
import os
import sys
import warnings

import torch
from torch import nn


def linear(inputs=8, outputs=16):
    """Vectors of 8 numbers."""
    return nn.Sequential(nn.Linear(inputs, outputs))


class Pictures(nn.Module):
    """Grey pictures of 8 x 8 pixels."""

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(64, 16)

    def forward(self, x):
        return self.project(x.flatten(1) - 0.5)


def wider():
    return linear(8, 24)


class Loud(nn.Sequential):
    """Prints and warns in every way there is."""

    def forward(self, x):
        print("printed while running")
        os.write(1, b"written by native code\\n")
        warnings.warn("a warning\\nof two lines", stacklevel=1)
        return super().forward(x)


def loud():
    print("printed while building")
    return Loud(nn.Linear(8, 16))


class Quits(nn.Sequential):
    def forward(self, x):
        sys.exit(0)


def quits():
    return Quits(nn.Linear(8, 16))


class Fails(nn.Sequential):
    def forward(self, x):
        raise ValueError("no such batch")


def fails():
    return Fails(nn.Linear(8, 16))


class Undefined(nn.Sequential):
    """NaN for every input whose first number is above 1."""

    def forward(self, x):
        return super().forward(x) * torch.where(x[:, :1] > 1, torch.nan, 1.0)


def undefined():
    return Undefined(nn.Linear(8, 16))
'''


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Call = Callable[..., Ended]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but those of the test: an empty folder to stand in, and a clean environment."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("COLLAPSECHECK_") or name in {"NO_COLOR", "FORCE_COLOR", "TERM"}:
            monkeypatch.delenv(name)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run one command in this process."""

    def inner(*arguments: object) -> Ended:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert isinstance(code, int)
        return Ended(code, captured.out, captured.err)

    return inner


@pytest.fixture(scope="session")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models, checkpoints, data and vectors; nobody changes them."""
    folder = tmp_path_factory.mktemp("arena")
    (folder / "models.py").write_text(MODELS)
    random = np.random.default_rng(0)

    healthy = torch.Generator().manual_seed(0)
    weights = {
        "0.weight": torch.randn(16, 8, generator=healthy),
        "0.bias": torch.zeros(16),
    }
    torch.save(weights, folder / "healthy.pt")
    torch.save({name: torch.zeros_like(w) + name.endswith("bias") for name, w in weights.items()}, folder / "one.pt")
    torch.save({"0.weight": weights["0.weight"]}, folder / "partial.pt")
    pictures = nn.Linear(64, 16)
    nn.init.normal_(pictures.weight, generator=healthy)
    torch.save({f"project.{name}": w.detach() for name, w in pictures.named_parameters()}, folder / "pictures.pt")

    np.save(folder / "x.npy", random.standard_normal((200, 8)).astype("float32"))
    for name in [f"{label}/{i:02}.png" for label in ("cat", "dog") for i in range(20)]:
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(path)

    vectors = random.standard_normal((200, 16)).astype("float32")
    np.save(folder / "good.npy", vectors)
    np.save(folder / "same.npy", np.ones((200, 16), np.float32))
    np.save(folder / "cone.npy", vectors + 40)
    np.save(folder / "few.npy", vectors[:2])
    return folder


@pytest.fixture
def python() -> list[str]:
    return [sys.executable, "-m", "collapsecheck"]


@pytest.fixture
def scan(call: Call, arena: Path) -> Call:
    """Scan a checkpoint of the arena on its vectors with one of its models, unless told otherwise."""

    def inner(*options: object, model: object = "healthy.pt", data: object = "x.npy", build: str = "linear") -> Ended:
        given = ["--model-def", f"{arena / 'models.py'}:{build}"] if build else []
        return call("scan", arena / str(model), arena / str(data), *given, "--workers", "0", *options)

    return inner
