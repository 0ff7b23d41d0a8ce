"""`depth-without-normalisation`: many layers in a row at torch's initialisation, where no gradient gets through."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

_NORMALISED: dict[Build, Build] = {
    architectures.deep_perceptron: architectures.deep_normalised_perceptron,
    architectures.deep_convolutional: architectures.deep_normalised_convolutional,
}


def broken(build: Build, seed: int = 0) -> Sample:
    """Trained, but to no effect: the signal is lost on the way."""
    return handed(build, working(build, seed))


def repaired(build: Build, seed: int = 0) -> Sample:
    """As deep, trained as long, with batch normalisation."""
    return handed(_NORMALISED[build], working(_NORMALISED[build], seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = tuple(_NORMALISED)
