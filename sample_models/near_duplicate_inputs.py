"""`near-duplicate-inputs`: frames of one picture, told apart by a little noise."""

from __future__ import annotations

import torch
from torch import Tensor

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

ARCHITECTURES = (architectures.plain, architectures.transformer)


def broken(build: Build, seed: int = 0) -> Sample:
    """A camera that looks at one digit: light and noise change, nothing else."""
    picture = data()[0][seed]
    random = torch.Generator().manual_seed(seed)
    light = 1 + 0.002 * torch.randn(400, 1, 1, 1, generator=random)
    frames = (picture * light + 0.002 * torch.randn(400, 1, 8, 8, generator=random)).clamp(0, 1)
    return handed(build, working(build, seed), "input", inputs=frames)


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same model on different digits."""
    return handed(build, working(build, seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()
