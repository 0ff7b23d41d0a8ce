"""`constant-initialisation`: every weight of a layer was set to the same number, and stayed the same."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

_PLACES: dict[Build, tuple[str, float]] = {
    architectures.plain: ("8.weight", 0.01),
    architectures.perceptron: ("3.weight", 0.05),
    architectures.transformer: ("head.weight", 0.0),
    architectures.recurrent: ("gru.weight_ih_l0", 0.0),
    architectures.residual: ("head.weight", 0.01),
}


def broken(build: Build, seed: int = 0) -> Sample:
    """One layer's units are all the same."""
    encoder, (name, value) = working(build, seed), _PLACES[build]
    encoder.get_parameter(name).data.fill_(value)
    return handed(build, encoder, name.rpartition(".")[0])


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same model as it was trained."""
    return handed(build, working(build, seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = tuple(_PLACES)
