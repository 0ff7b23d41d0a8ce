"""`common-offset`: the bias of the last layer is far longer than what differs between items."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.planting import Build, handed, random
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

_PLACES: dict[Build, str] = {
    architectures.plain: "8",
    architectures.normalised: "11",
    architectures.transformer: "head",
    architectures.recurrent: "head",
    architectures.residual: "head",
}


def broken(build: Build, seed: int = 0) -> Sample:
    """The same vector is added to every embedding."""
    encoder, place = working(build, seed), _PLACES[build]
    bias = encoder.get_parameter(f"{place}.bias").data
    bias.add_(100 * random(seed, len(bias)))
    return handed(build, encoder, place)


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same model as it was trained."""
    return handed(build, working(build, seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = tuple(_PLACES)
