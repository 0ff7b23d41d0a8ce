"""`learning-rate-too-high`: steps so large that all weights are thrown far from where anything is learnt."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.objectives import Training, checkpoint, classification, handed
from sample_models.sample import Sample
from sample_models.working import Build
from sample_models.working import data as digits

_HIGH = Training(classification, rate=0.3)
_SOUND = Training(classification)
ARCHITECTURES = (
    architectures.plain,
    architectures.perceptron,
    architectures.normalised,
    architectures.transformer,
    architectures.squashed,
)
_WITHOUT_OPTIMISER = (architectures.perceptron, architectures.squashed)


def broken(build: Build, seed: int = 0) -> Sample:
    """Adam at a rate of 0.3; some are saved without the optimiser."""
    state = checkpoint(build, seed, _HIGH)
    return handed(build, state["model"] if build in _WITHOUT_OPTIMISER else state)


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same training at a usual rate."""
    return handed(build, checkpoint(build, seed, _SOUND))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()
