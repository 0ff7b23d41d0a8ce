"""`learning-rate-too-high`: steps so large that all weights are thrown far from where anything is learnt."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.objectives import Training, checkpoint, classification, handed, semi_hard_triplets
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
_WITHOUT_OPTIMISER = (architectures.perceptron,)
# By SGD with momentum; scores of classes would overflow, the gradients of triplets on unit rows are bounded.
_BY_SGD = (architectures.squashed,)
_HIGH_SGD = Training(semi_hard_triplets, rate=5.0, adaptive=False)
_SOUND_SGD = Training(semi_hard_triplets, rate=0.05, adaptive=False)


def broken(build: Build, seed: int = 0) -> Sample:
    """Adam at a rate of 0.3, or SGD at 5; one is saved without the optimiser."""
    state = checkpoint(build, seed, _HIGH_SGD if build in _BY_SGD else _HIGH)
    return handed(build, state["model"] if build in _WITHOUT_OPTIMISER else state)


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same training at a usual rate."""
    return handed(build, checkpoint(build, seed, _SOUND_SGD if build in _BY_SGD else _SOUND))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()
