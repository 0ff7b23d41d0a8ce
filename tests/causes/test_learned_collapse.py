"""Collapses that training itself has caused, in all layers: no single layer is convicted of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from collapsecheck.causes import Status
from collapsecheck.checks import Kind
from collapsecheck.learnt import LearntCollapse, learnt_collapse
from sample_models import architectures
from sample_models.working import SCANNED, data, digits, working
from tests.causes.conftest import scanned

Loss = Callable[[Tensor, Tensor], Tensor]


def attraction(rows: Tensor, classes: Tensor) -> Tensor:
    """Two halves of a batch are pulled together, and nothing is pushed apart."""
    first, second = rows.chunk(2)
    return (first - second).square().sum(1).mean()


def hardest_triplets(rows: Tensor, classes: Tensor) -> Tensor:
    """Farthest positive and nearest negative of each item, margin .2, on rows of any length."""
    distance = (rows[:, None] - rows[None]).square().sum(2)
    same = classes[:, None] == classes[None]
    far, near = distance.masked_fill(~same, 0).amax(1), distance.masked_fill(same, torch.inf).amin(1)
    return functional.relu(far - near + 0.2).mean()


def taught(build: Callable[[], nn.Module], loss: Loss, rate: float, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = build()
        pictures, classes = (part[SCANNED:] for part in digits())
        optimizer = torch.optim.Adam(encoder.parameters(), lr=rate)
        for _ in range(120):
            chosen = torch.randint(len(pictures), (64,))
            optimizer.zero_grad()
            loss(encoder(pictures[chosen]), classes[chosen]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return encoder.eval().requires_grad_(requires_grad=False)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("build", [architectures.plain, architectures.perceptron])
@pytest.mark.parametrize(("loss", "rate"), [(attraction, 2e-3), (hardest_triplets, 3e-2)])
def test_many_silent_units_that_training_left_are_no_dead_layer(
    build: Callable[[], nn.Module], loss: Loss, rate: float, seed: int
) -> None:
    _, verdict, diagnoses = scanned(taught(build, loss, rate, seed), *data())
    assert verdict.kind is not None
    assert not [one.cause for one in diagnoses if one.status is Status.CONFIRMED]


def learnt(module: nn.Module, pictures: Tensor) -> LearntCollapse | None:
    scene, _, _ = scanned(module, pictures)
    return learnt_collapse(scene.find, scene.path, scene.weights)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("build", [architectures.plain, architectures.perceptron])
def test_attraction_alone_is_seen_against_an_untrained_twin(build: Callable[[], nn.Module], seed: int) -> None:
    pictures, classes = data()
    _, verdict, diagnoses = scanned(taught(build, attraction, 2e-3, seed), pictures, classes)
    if verdict.kind in (Kind.COMPLETE, Kind.CONE):  # normalisation may keep items apart all the same
        assert (diagnoses[0].cause, diagnoses[0].status) == ("loss-without-repulsion", Status.LIKELY)


@pytest.mark.parametrize(
    "build", [architectures.plain, architectures.perceptron, architectures.normalised, architectures.residual]
)
def test_sound_training_has_learnt_no_collapse(build: Callable[[], nn.Module]) -> None:
    assert learnt(working(build, 0), data()[0]) is None


@pytest.mark.parametrize("build", [architectures.normalised, architectures.residual])
@pytest.mark.parametrize("scale", [1 / 255, 255.0])
def test_data_on_another_scale_are_nothing_that_was_learnt(build: Callable[[], nn.Module], scale: float) -> None:
    assert learnt(working(build, 0), data()[0] * scale) is None


def test_statistics_that_do_not_fit_are_nothing_that_was_learnt() -> None:
    module = working(architectures.normalised, 0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d) and part.running_var is not None:
            part.running_var *= 1e4
    assert learnt(module, data()[0]) is None


def test_one_spoilt_layer_is_nothing_that_was_learnt() -> None:
    module = working(architectures.plain, 0)
    last = [part for part in module.modules() if isinstance(part, nn.Linear)][-1]
    last.bias.data += 300
    found = learnt(module, data()[0])
    assert found is None or not found.sure
