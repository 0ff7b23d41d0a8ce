"""`untrained-weights`: the model that was saved is not the one that was trained."""

from __future__ import annotations

import torch
from torch import Tensor

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

ARCHITECTURES = (architectures.plain, architectures.perceptron, architectures.residual, architectures.transformer)


def broken(build: Build, seed: int = 0) -> Sample:
    """A second instance of the model, saved by mistake."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1000 + seed)
        return handed(build, build().eval())


def repaired(build: Build, seed: int = 0) -> Sample:
    """The instance that was trained."""
    return handed(build, working(build, seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()
