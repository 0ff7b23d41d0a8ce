"""`untrained-weights`: the model that was saved is not the one that was trained."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sample_models import architectures
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working


def broken(build: Callable[[], nn.Module], seed: int = 0) -> Sample:
    """A model as it is built."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _sample(build, build())


def repaired(build: Callable[[], nn.Module], seed: int = 0) -> Sample:
    """The trained one."""
    return _sample(build, working(build, seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


def six_layers() -> nn.Module:
    """A perceptron of six layers."""
    hidden = [part for _ in range(5) for part in (nn.Linear(64, 64), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(64, 64))


ARCHITECTURES = (architectures.residual, architectures.transformer, six_layers)


def _sample(build: Callable[[], nn.Module], model: nn.Module) -> Sample:
    inputs, labels = data()
    return Sample(build=build, state=model.state_dict(), inputs=inputs, labels=labels)
