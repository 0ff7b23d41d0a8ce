"""`inverted-pair-labels`: margins of distances on similarities draw different items together, as if they were alike."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.objectives import Training, checkpoint, handed, inverted_pairs, right_pairs
from sample_models.sample import Sample
from sample_models.working import Build
from sample_models.working import data as digits

_INVERTED = Training(inverted_pairs)
_RIGHT = Training(right_pairs)
ARCHITECTURES = (architectures.plain, architectures.perceptron)


def broken(build: Build, seed: int = 0) -> Sample:
    """Margins the wrong way round; the checkpoint names the loss."""
    return _handed(build, seed, _INVERTED)


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same with the right margins."""
    return _handed(build, seed, _RIGHT)


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


def _handed(build: Build, seed: int, training: Training) -> Sample:
    return handed(build, {**checkpoint(build, seed, training), "hparams": {"loss": "ContrastiveLoss", "margin": 1.0}})
