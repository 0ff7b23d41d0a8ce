"""`saturated-activation`: what goes into tanh or sigmoid is so large that they give one of their ends for all items."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.planting import Build, handed, random
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

# The bias, and where the symptom may rightly be seen besides: at the activation.
_PLACES: dict[Build, tuple[str, str]] = {
    architectures.squashed: ("3.bias", "4"),
    architectures.logistic: ("1.bias", "2"),
    architectures.recurrent: ("gru.bias_ih_l0", ""),
}


def broken(build: Build, seed: int = 0) -> Sample:
    """Biases of ±50: each unit is at one of the ends, whatever the item."""
    encoder, (name, behind) = working(build, seed), _PLACES[build]
    bias = encoder.get_parameter(name).data
    bias.add_(50 * random(seed, len(bias)).sign())
    if build is architectures.recurrent:
        bias.copy_(bias.abs())  # a gate that always keeps the old state: the state stays what it was at first
    return handed(build, encoder, name.rpartition(".")[0], also={behind} - {""})


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same model as it was trained."""
    return handed(build, working(build, seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = tuple(_PLACES)
