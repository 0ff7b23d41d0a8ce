"""`batch-statistics-at-inference`: BatchNorm layers without running statistics: an embedding depends on its batch."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

_SOUND: dict[Build, Build] = {
    architectures.normalised_by_batch: architectures.normalised,
    architectures.residual_by_batch: architectures.residual,
}


def broken(build: Build, seed: int = 0) -> Sample:
    """Trained without running statistics."""
    return handed(build, working(build, seed))


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same architecture with running statistics."""
    return handed(_SOUND[build], working(_SOUND[build], seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = tuple(_SOUND)
