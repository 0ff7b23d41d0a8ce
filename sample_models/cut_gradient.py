"""`cut-gradient`: a forgotten `detach()`, so that the first layers keep their random weights while others learn."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.objectives import Training, checkpoint, classification, handed
from sample_models.sample import Sample
from sample_models.working import Build
from sample_models.working import data as digits

_SOUND = Training(classification)
_WHOLE: dict[Build, Build] = {
    architectures.cut_convolutional: architectures.plain,
    architectures.cut_perceptron: architectures.perceptron,
}
ARCHITECTURES = tuple(_WHOLE)


def broken(build: Build, seed: int = 0) -> Sample:
    """Trained through the cut; the model's code is what cuts."""
    return handed(build, checkpoint(build, seed, _SOUND)["model"])


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same layers without the cut."""
    return handed(_WHOLE[build], checkpoint(_WHOLE[build], seed, _SOUND)["model"])


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()
