"""`low-rank-layer`: one layer lets one or two directions through, as a projector that collapsed does."""

from __future__ import annotations

import torch
from torch import Tensor

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

_PLACES: dict[Build, tuple[str, int]] = {
    architectures.plain: ("8.weight", 1),
    architectures.normalised: ("11.weight", 2),
    architectures.perceptron: ("3.weight", 1),
    architectures.transformer: ("head.weight", 2),
    architectures.recurrent: ("head.weight", 1),
}


def broken(build: Build, seed: int = 0) -> Sample:
    """A weight of rank one or two: the largest directions of the trained one."""
    encoder, (name, rank) = working(build, seed), _PLACES[build]
    weight = encoder.get_parameter(name).data
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    weight.copy_((left[:, :rank] * values[:rank]) @ right[:rank])
    return handed(build, encoder, name.rpartition(".")[0])


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same model as it was trained."""
    return handed(build, working(build, seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = tuple(_PLACES)
