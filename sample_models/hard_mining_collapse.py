"""`hard-mining-collapse`: triplets of only the hardest, on distances that are not normalised, end in one point."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.objectives import MARGIN, Training, checkpoint, handed, hardest_triplets, semi_hard_triplets
from sample_models.sample import Sample
from sample_models.working import Build
from sample_models.working import data as digits

_HARDEST = Training(hardest_triplets, rate=3e-2)
_SEMI_HARD = Training(semi_hard_triplets)
ARCHITECTURES = (architectures.plain, architectures.perceptron, architectures.transformer)


def broken(build: Build, seed: int = 0) -> Sample:
    """Trained on the hardest triplets; the user says so."""
    return handed(build, checkpoint(build, seed, _HARDEST)["model"], loss="triplet", margin=MARGIN)


def repaired(build: Build, seed: int = 0) -> Sample:
    """Trained on triplets of unit rows."""
    return handed(build, checkpoint(build, seed, _SEMI_HARD)["model"], loss="triplet", margin=MARGIN)


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()
