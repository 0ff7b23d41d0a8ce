"""`random-inference`: dropout that eval mode does not switch off."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

_SOUND: dict[Build, Build] = {
    architectures.plain_dropping: architectures.plain,
    architectures.transformer_dropping: architectures.transformer,
}


def broken(build: Build, seed: int = 0) -> Sample:
    """Trained with dropout that stays on."""
    return handed(build, working(build, seed))


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same encoder without it."""
    return handed(_SOUND[build], working(_SOUND[build], seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = tuple(_SOUND)
