"""`wrong-input-scale`: pictures that were in 0..1 already are divided by 255 once more, or twice."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

_DIVISORS: dict[Build, float] = {
    architectures.plain: 255,
    architectures.normalised: 255,
    architectures.perceptron: 255**2,
    architectures.recurrent: 255,
    architectures.residual: 255,
}


def broken(build: Build, seed: int = 0) -> Sample:
    """A working model on pictures that are nearly black."""
    pictures, _ = data()
    return handed(build, working(build, seed), "input", inputs=pictures / _DIVISORS[build])


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same model on pictures as in training."""
    return handed(build, working(build, seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = tuple(_DIVISORS)
