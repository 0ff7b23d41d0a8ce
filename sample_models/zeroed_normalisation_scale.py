"""`zeroed-normalisation-scale`: weight decay has taken the scales of a normalisation layer."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

_PLACES: dict[Build, str] = {
    architectures.normalised: "4",
    architectures.residual: "stem.1",
    architectures.transformer: "norm",
    architectures.normalised_perceptron: "5",
}


def broken(build: Build, seed: int = 0) -> Sample:
    """One layer's scales are a millionth of what they were."""
    encoder, place = working(build, seed), _PLACES[build]
    encoder.get_parameter(f"{place}.weight").data.mul_(1e-6)
    return handed(build, encoder, place)


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same model as it was trained."""
    return handed(build, working(build, seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = tuple(_PLACES)
