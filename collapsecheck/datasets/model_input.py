"""What a model says about the input that it takes; the preprocessing follows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInput:
    """What is known about the input of a model.

    `channels` is the number of input channels of the first convolution over images (None without one),
    `sound_channels` that of the first layer where it is a convolution over time, `token_ids` is true where the
    first layer looks up embeddings, `arch_name` is the torchvision name, if it has one. `size` (height and width in
    pixels) is given where the model takes images of one size only, `byte_pixels` is true where it takes them as whole
    numbers from 0 to 255.
    """

    channels: int | None
    sound_channels: int | None = None
    token_ids: bool
    arch_name: str | None
    size: tuple[int, int] | None = None
    byte_pixels: bool = False
