"""`excessive-weight-decay`: L2 that is stronger than the loss has pulled every parameter to zero."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.objectives import Training, checkpoint, classification, handed
from sample_models.sample import Sample
from sample_models.working import Build
from sample_models.working import data as digits

_STRONG = Training(classification, rate=5e-3, weight_decay=1.0)
_STRONG_SGD = Training(classification, rate=0.05, weight_decay=0.3, adaptive=False)
_SOUND = Training(classification, weight_decay=1e-4)
_TRAININGS = {
    architectures.plain: _STRONG,
    architectures.normalised: _STRONG_SGD,
    architectures.perceptron: _STRONG_SGD,
    architectures.transformer: _STRONG,
    architectures.squashed: _STRONG,
}
ARCHITECTURES = tuple(_TRAININGS)


def broken(build: Build, seed: int = 0) -> Sample:
    """Trained with far too much decay; every other one is saved without the optimiser."""
    state = checkpoint(build, seed, _TRAININGS[build])
    return handed(build, state if _TRAININGS[build] is _STRONG else state["model"])


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same training with a usual decay."""
    return handed(build, checkpoint(build, seed, _SOUND))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()
