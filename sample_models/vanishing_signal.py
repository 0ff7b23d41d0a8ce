"""`vanishing-signal`: weights so small that only the biases are left of what a layer gives."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

_PLACES: dict[Build, tuple[str, float]] = {
    architectures.plain: ("2.weight", 1e-6),
    architectures.normalised: ("11.weight", 1e-5),
    architectures.transformer: ("head.weight", 1e-6),
    architectures.recurrent: ("gru.weight_ih_l0", 1e-5),
    architectures.gelu_perceptron: ("3.weight", 1e-6),
}


def broken(build: Build, seed: int = 0) -> Sample:
    """One layer's weights are thousands of times too small."""
    encoder, (name, factor) = working(build, seed), _PLACES[build]
    encoder.get_parameter(name).data.mul_(factor)
    return handed(build, encoder, name.rpartition(".")[0])


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same model as it was trained."""
    return handed(build, working(build, seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = tuple(_PLACES)
