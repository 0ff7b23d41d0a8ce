"""`wrong-embedding-layer`: the embedding is read behind the softmax of a classifier, which is sure of its classes."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

# The last layer of the encoder, by its name in the classifier.
_ENCODERS: dict[Build, str] = {
    architectures.plain_classifier: "0.8",
    architectures.normalised_classifier: "0.11",
    architectures.perceptron_classifier: "0.7",
}

LONG = 30.0


def broken(build: Build, seed: int = 0) -> Sample:
    """Read at the end: probabilities, which after long training are next to 0 and 1, as logits have grown by then."""
    encoder = working(build, seed)
    for parameter in encoder.get_submodule("1").parameters():
        parameter.data.mul_(LONG)
    return handed(build, encoder, "2")


def repaired(build: Build, seed: int = 0) -> Sample:
    """Read in front of the classifying layer."""
    return handed(build, working(build, seed), layer=_ENCODERS[build])


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = tuple(_ENCODERS)
