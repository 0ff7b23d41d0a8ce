"""`bounded-similarity-loss`: a sigmoid of a cosine has no gradient that leads out of where a deep plain net begins."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.objectives import Training, checkpoint, classification, handed, sigmoid_cosines
from sample_models.sample import Sample
from sample_models.working import Build
from sample_models.working import data as digits

_BOUNDED = Training(sigmoid_cosines, rate=1e-3, steps=300)
_UNBOUNDED = Training(classification, rate=1e-3, steps=800)
ARCHITECTURES = (architectures.vgg, architectures.tall_perceptron)


def broken(build: Build, seed: int = 0) -> Sample:
    """Trained by binary cross-entropy of sigmoid(cosine), and still where it began: every cosine is 1."""
    return handed(build, checkpoint(build, seed, _BOUNDED), loss="cosine-bce")


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same net, trained by cross-entropy until it is done."""
    return handed(build, checkpoint(build, seed, _UNBOUNDED), loss="cosine-bce")


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()
