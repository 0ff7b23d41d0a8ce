"""`stale-batchnorm`: running statistics that one bad batch has exploded, as a picture with broken pixels does."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working


def broken(build: Build, seed: int = 0) -> Sample:
    """The last batch of training had a picture of a million times the usual brightness."""
    encoder = working(build, seed)
    pictures = digits()[0][:64].clone()
    pictures[0] = 1e6
    encoder.train()
    with torch.no_grad():
        encoder(pictures)  # changes nothing but the running statistics
    first = next(name for name, module in encoder.named_modules() if isinstance(module, _BatchNorm))
    return handed(build, encoder.eval(), first)


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same weights; the statistics as they were learned."""
    return handed(build, working(build, seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = (architectures.normalised, architectures.residual, architectures.normalised_perceptron)
