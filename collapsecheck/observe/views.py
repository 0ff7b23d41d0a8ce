"""A second view of items, for losses that compare two of each."""

from __future__ import annotations

import torch
from torch import Tensor

from collapsecheck.datasets.inputs import Inputs

# Deviation of the noise over that of the inputs, and the shift of pictures in pixels: as mild as any augmentation.
NOISE, SHIFT = 0.15, 1


def second_view(inputs: Inputs, seed: int = 0) -> Tensor | None:
    """The same items [n, …] with a little noise, pictures shifted by a pixel; None for whole numbers, as tokens are.

    The augmentation of the training is not known to a checkpoint: this one only has to keep what an item is.
    """
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        return None
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(inputs.shape, generator=generator).to(inputs)
    deviation = (inputs - inputs.mean(0)).square().mean().sqrt()
    shifted = inputs.roll((SHIFT, -SHIFT), dims=(-2, -1)) if inputs.ndim == 4 else inputs
    return shifted + NOISE * deviation * noise
