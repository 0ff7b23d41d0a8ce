"""`half-precision-loss`: activations beyond 65504, where float16 ends."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

# A layer, and the next one behind a ReLU: one grows, the other shrinks by as much, and the function stays.
_PAIRS: dict[Build, tuple[str, str]] = {architectures.plain: ("0", "2"), architectures.perceptron: ("1", "3")}


def broken(build: Build, seed: int = 0) -> Sample:
    """Run in float16."""
    return _sample(build, seed, precision="fp16")


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same weights in float32."""
    return _sample(build, seed, precision="fp32")


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = tuple(_PAIRS)


def _sample(build: Build, seed: int, *, precision: str) -> Sample:
    encoder = working(build, seed)
    grown, shrunk = (encoder.get_submodule(name) for name in _PAIRS[build])
    assert isinstance(grown, nn.Conv2d | nn.Linear) and isinstance(shrunk, nn.Conv2d | nn.Linear)
    assert grown.bias is not None
    with torch.no_grad():
        grown.weight.mul_(1e6)
        grown.bias.mul_(1e6)
        shrunk.weight.mul_(1e-6)
    first = _PAIRS[build][0]
    return handed(build, encoder, first, also={str(int(first) + 1)}, settings={"precision": precision})
