"""Small nets trained on scikit-learn's digits, to be broken in one place each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from collapsecheck.causes import Diagnosis, Status
from collapsecheck.diagnosis import diagnose
from collapsecheck.examination import examine
from collapsecheck.models.readout import Readout
from collapsecheck.observe.probe import Probe, ProbeBatch
from collapsecheck.scene import Scene
from collapsecheck.verdict import Verdict, judge

ITEMS = 400


@cache
def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(data.images, dtype=torch.float32)[order, None] / 16
    return images, torch.tensor(data.target)[order]


def convolutional() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(512, 64),
    )  # fmt: skip


def perceptron() -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 64)
    )


def squashed() -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 64)
    )


@cache
def trained(build: Callable[[], nn.Sequential], seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    encoder, head = build(), nn.Linear(64, 10)
    images, labels = (part[ITEMS:] for part in digits())
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=2e-3)
    for step in range(120):
        chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(step))[:128]
        loss = nn.functional.cross_entropy(head(encoder(images[chosen])), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return encoder.eval().requires_grad_(requires_grad=False)


Scanned = tuple[Scene, Verdict, tuple[Diagnosis, ...]]


def scanned(module: nn.Module, inputs: Tensor | None = None, labels: Tensor | None = None) -> Scanned:
    """What a scan of these inputs finds; of the digits without."""
    if inputs is None:
        inputs, labels = (part[:ITEMS] for part in digits())
    batches = [
        ProbeBatch(
            inputs=inputs[start : start + 64],
            indices=torch.arange(start, min(start + 64, len(inputs))),
            labels=None if labels is None else labels[start : start + 64],
        )
        for start in range(0, len(inputs), 64)
    ]
    readout = Readout(module.eval(), reason="the output")
    probe = Probe(readout=readout, batches=batches, device=torch.device("cpu"))
    findings = examine(probe.seen)
    verdict = judge(probe.seen, findings)
    scene = Scene(seen=probe.seen, findings=findings, kind=verdict.kind, probe=probe, layers=probe.layers)
    return scene, verdict, diagnose(scene, verdict)


def named(diagnoses: tuple[Diagnosis, ...]) -> str:
    """The cause that a report would print as confirmed, "" without one."""
    return diagnoses[0].cause if diagnoses and diagnoses[0].status is Status.CONFIRMED else ""


@pytest.fixture(params=[convolutional, perceptron], ids=["convolutional", "perceptron"])
def net(request: pytest.FixtureRequest) -> nn.Sequential:
    return copy.deepcopy(trained(request.param))


def at(net: nn.Sequential, kind: type[nn.Module], place: int) -> tuple[str, nn.Module]:
    """Name and module of the `place`-th layer of a class."""
    found = [(name, module) for name, module in net.named_modules() if isinstance(module, kind)]
    return found[place]
