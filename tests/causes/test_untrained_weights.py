"""`untrained-weights`: only where nothing has been learned, and before the depth as long as training could begin."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from collapsecheck.causes import Status
from tests.causes.conftest import convolutional, named, perceptron, scanned, squashed, trained


def deep(layers: int) -> Callable[[], nn.Sequential]:
    def build() -> nn.Sequential:
        parts = [part for _ in range(layers) for part in (nn.Linear(64, 64), nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *parts[:-1])

    return build


def untrained(build: Callable[[], nn.Sequential], seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return build()


@pytest.mark.parametrize("build", [convolutional, perceptron, squashed])
@pytest.mark.parametrize("seed", [0, 1])
def test_trained_nets_with_another_fault_are_not_untrained(build: Callable[[], nn.Sequential], seed: int) -> None:
    net = copy.deepcopy(trained(build, seed))
    net[-1].bias.data += 200
    _, verdict, diagnoses = scanned(net)
    assert verdict.kind is not None and "untrained-weights" not in {one.cause for one in diagnoses}


@pytest.mark.parametrize("build", [convolutional, perceptron])
def test_neither_a_fresh_head_nor_frozen_random_layers_are_an_untrained_model(
    build: Callable[[], nn.Sequential],
) -> None:
    for fresh in (-1, 0):
        net = copy.deepcopy(trained(build))
        layers = [module for module in net if isinstance(module, nn.Linear | nn.Conv2d)]
        layers[fresh].reset_parameters()
        layers[-1].bias.data += 200
        _, _, diagnoses = scanned(net)
        assert "untrained-weights" not in {one.cause for one in diagnoses}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_looks_sound_is_not_accused_although_nobody_trained_it(seed: int) -> None:
    net = untrained(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.BatchNorm1d(128)), seed)
    _, verdict, diagnoses = scanned(net)
    assert verdict.status == "healthy" and not diagnoses


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("layers", "first"), [(6, "untrained-weights"), (16, "depth-without-normalisation")])
def test_depth_comes_first_once_training_could_not_begin(layers: int, first: str, seed: int) -> None:
    _, _, diagnoses = scanned(untrained(deep(layers), seed))
    confirmed = [one.cause for one in diagnoses if one.status is Status.CONFIRMED]
    assert confirmed[0] == first and set(confirmed) == {"untrained-weights", "depth-without-normalisation"}


def test_what_learned_only_a_little_is_not_untrained() -> None:
    net = untrained(deep(6), 0)
    for layer in net[1::2]:
        layer.weight.data *= 0.98  # as weight decay alone would leave them
    _, _, diagnoses = scanned(net)
    assert named(diagnoses) == "depth-without-normalisation"
    assert "untrained-weights" not in {one.cause for one in diagnoses}
