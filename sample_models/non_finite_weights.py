"""`non-finite-weights`: a step to NaN or Inf has left its trace in one layer."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

# One number of this tensor, or what stands for all of it.
_PLACES: dict[Build, tuple[str, float]] = {
    architectures.perceptron: ("3.weight", float("nan")),
    architectures.residual: ("blocks.2.bn1.running_var", float("nan")),
    architectures.transformer: ("blocks.layers.1.self_attn.in_proj_weight", float("nan")),
    architectures.recurrent: ("gru.weight_hh_l0", float("nan")),
    architectures.plain: ("2.bias", float("inf")),
}


def broken(build: Build, seed: int = 0) -> Sample:
    """One number is not finite."""
    encoder, (name, value) = working(build, seed), _PLACES[build]
    encoder.state_dict()[name].view(-1)[0] = value
    return handed(build, encoder, name.rpartition(".")[0])


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same model as it was trained."""
    return handed(build, working(build, seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = tuple(_PLACES)
