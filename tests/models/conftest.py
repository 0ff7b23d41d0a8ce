from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from collapsecheck.checkpoints import Checkpoint
from collapsecheck.models import LoadedModel
from collapsecheck.models.architecture import UserArchitecture

# What users write: the module that most tests load weights into.
NETWORKS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.encoder(x).mean((2, 3)))


def build():
    return Net()


def encoder():
    return Net().encoder


def broken():
    raise ValueError("no such thing\\nsecond line")


def leaves():
    raise SystemExit(3)


def wants(size):
    return Net()


def half():
    return Net().half()


def meta():
    with torch.device("meta"):
        return Net()


def number():
    return 3


NOT_CALLABLE = 3
"""


@pytest.fixture
def networks(tmp_path: Path) -> Path:
    path = tmp_path / "networks.py"
    path.write_text(NETWORKS)
    return path


@pytest.fixture
def net(networks: Path) -> nn.Module:
    scope: dict[str, Any] = {}
    exec(compile(NETWORKS, "networks", "exec"), scope)
    torch.manual_seed(1)
    module: nn.Module = scope["build"]()
    with torch.no_grad():
        module.encoder[1].running_mean.normal_()
    return module.eval()


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Any], Path]:
    def inner(content: Any) -> Path:
        path = tmp_path / "model.pt"
        torch.save(content, path)
        return path

    return inner


@pytest.fixture
def loaded() -> Callable[[nn.Module], LoadedModel]:
    """Wrap a module as if it had been loaded."""

    def inner(module: nn.Module) -> LoadedModel:
        return LoadedModel(
            module=module.eval(),
            architecture=UserArchitecture("networks.py:build"),
            checkpoint=Checkpoint(path=Path("model.pt"), format="torch-zip", content={}),
            parameters=0,
        )

    return inner
