"""`bounded-similarity-loss`: a sigmoid of a cosine can never say yes or no; a deep net does not learn from it."""

from __future__ import annotations

from torch import Tensor, nn

from sample_models.architectures import WIDTH
from sample_models.objectives import Training, checkpoint, classification, handed, squashed_similarity
from sample_models.sample import Sample
from sample_models.working import Build
from sample_models.working import data as digits

_SQUASHED = Training(squashed_similarity, rate=0.01, adaptive=False)
_SOUND = Training(classification, steps=400)


def deep() -> nn.Module:
    """A plain perceptron of ten layers."""
    return _perceptron(10, nn.ReLU)


def deep_smooth() -> nn.Module:
    """The same with GELU."""
    return _perceptron(9, nn.GELU)


ARCHITECTURES = (deep, deep_smooth)


def broken(build: Build, seed: int = 0) -> Sample:
    """Trained by a cross-entropy of squashed cosines; the user says so."""
    return handed(build, checkpoint(build, seed, _SQUASHED)["model"], loss="sigmoid-cosine")


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same net as a classifier."""
    return handed(build, checkpoint(build, seed, _SOUND)["model"], loss="cross-entropy")


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


def _perceptron(depth: int, activation: type[nn.Module]) -> nn.Module:
    hidden = [module for _ in range(depth - 2) for module in (nn.Linear(WIDTH, WIDTH), activation())]
    return nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), activation(), *hidden, nn.Linear(WIDTH, WIDTH))
