"""`wrong-custom-gradient`: an activation whose backward has a wrong sign in one of its terms."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

_SOUND: dict[Build, Build] = {
    architectures.plain_own_activation_wrong: architectures.plain_own_activation,
    architectures.perceptron_own_activation_wrong: architectures.perceptron_own_activation,
}
_AT = {
    architectures.plain_own_activation_wrong: "3",
    architectures.perceptron_own_activation_wrong: "4",
}


def broken(build: Build, seed: int = 0) -> Sample:
    """Trained with the wrong backward at one layer; the layers behind it make up for that."""
    return handed(build, working(build, seed), _AT[build])


def repaired(build: Build, seed: int = 0) -> Sample:
    """Trained with the right one."""
    return handed(_SOUND[build], working(_SOUND[build], seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = tuple(_SOUND)
