"""`repeated-inputs`: the data set returns the same picture whatever index it is asked for."""

from __future__ import annotations

from torch import Tensor

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working


def broken(build: Build, seed: int = 0) -> Sample:
    """A working model on the same digit, 400 times."""
    pictures, _ = data()
    return handed(build, working(build, seed), "input", inputs=pictures[seed].expand_as(pictures).clone())


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same model on different digits."""
    return handed(build, working(build, seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = (architectures.plain, architectures.residual, architectures.transformer, architectures.recurrent)
