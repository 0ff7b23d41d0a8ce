"""`too-few-samples`: a handful of items, on which no rank can be judged."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

ARCHITECTURES = (architectures.plain, architectures.residual, architectures.transformer)
FEW = 60


def broken(build: Build, seed: int = 0) -> Sample:
    """A working model on fewer items than it has dimensions."""
    sample = handed(build, working(build, seed))
    chosen = slice(seed * FEW, (seed + 1) * FEW)
    labels = sample.labels[chosen].clone() if sample.labels is not None else None
    return replace(sample, inputs=sample.inputs[chosen].clone(), labels=labels)


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same model on enough of them."""
    return handed(build, working(build, seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()
