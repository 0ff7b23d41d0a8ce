"""`rogue-dimension`: one or two of the dimensions are so large that they decide every cosine."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

_PLACES: dict[Build, tuple[str, tuple[int, ...]]] = {
    architectures.plain: ("8", (7,)),
    architectures.normalised: ("11", (3, 40)),
    architectures.transformer: ("head", (7,)),
    architectures.recurrent: ("head", (1, 63)),
}


def broken(build: Build, seed: int = 0) -> Sample:
    """These dimensions have a bias of 400."""
    encoder, (place, dimensions) = working(build, seed), _PLACES[build]
    encoder.get_parameter(f"{place}.bias").data[list(dimensions)] += 400
    return handed(build, encoder, place)


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same model as it was trained."""
    return handed(build, working(build, seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = tuple(_PLACES)
