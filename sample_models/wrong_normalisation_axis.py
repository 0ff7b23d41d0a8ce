"""`wrong-normalisation-axis`: embeddings normalised over the items of a batch."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

_SOUND: dict[Build, Build] = {
    architectures.plain_along_items: architectures.plain,
    architectures.residual_along_items: architectures.residual,
}


def broken(build: Build, seed: int = 0) -> Sample:
    """Trained as usual, normalised along the wrong axis at the end."""
    return handed(build, working(build, seed))


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same encoder without that step."""
    return handed(_SOUND[build], working(_SOUND[build], seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = tuple(_SOUND)
