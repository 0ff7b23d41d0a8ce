"""`loss-without-repulsion`: views of one item are drawn together, and nothing pushes different items apart."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.objectives import Training, attraction, checkpoint, classification, handed
from sample_models.sample import Sample
from sample_models.working import Build
from sample_models.working import data as digits

_ATTRACTION = Training(attraction)
_SOUND = Training(classification)
ARCHITECTURES = (architectures.plain, architectures.perceptron, architectures.residual, architectures.transformer)


def broken(build: Build, seed: int = 0) -> Sample:
    """Trained by attraction alone."""
    return handed(build, checkpoint(build, seed, _ATTRACTION)["model"])


def repaired(build: Build, seed: int = 0) -> Sample:
    """Trained to tell classes apart."""
    return handed(build, checkpoint(build, seed, _SOUND)["model"])


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()
