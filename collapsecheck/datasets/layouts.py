"""Layout of the rows of an array, as the first layer of a model expects it."""

from __future__ import annotations

from enum import Enum

import torch


class Layout(Enum):
    """What is done to a row; the value is how the report says it."""

    AS_IS = ""
    ADD_CHANNEL = "a channel dimension added"
    CHANNELS_FIRST = "channels moved to the front"
    REPEAT_GREY = "the grey channel repeated"

    def apply(self, rows: torch.Tensor, channels: int | None) -> torch.Tensor:
        """Rearrange rows `[n, *item_shape]`."""
        if self is Layout.ADD_CHANNEL:
            return rows.unsqueeze(1)
        if self is Layout.CHANNELS_FIRST:
            return rows.movedim(-1, 1)
        if self is Layout.REPEAT_GREY and channels is not None:
            grey = rows.unsqueeze(1) if rows.ndim == 3 else rows
            return grey.expand(-1, channels, -1, -1)
        return rows

    def shape(self, item_shape: tuple[int, ...], channels: int | None) -> tuple[int, ...]:
        """Return the shape of one row afterwards."""
        return tuple(self.apply(torch.empty(1, *item_shape, device="meta"), channels).shape[1:])


def layout_for(item_shape: tuple[int, ...], channels: int | None, pixels: bool) -> Layout:
    """Decide the layout for a model whose first convolution takes `channels` (None: no convolution)."""
    if channels is None or item_shape[0] == channels:
        return Layout.AS_IS
    if item_shape[-1] == channels and (len(item_shape) > 2 or (len(item_shape) == 2 and channels > 1)):
        return Layout.CHANNELS_FIRST
    if channels == 1 and len(item_shape) <= 2:
        return Layout.ADD_CHANNEL
    grey = len(item_shape) == 2 or (len(item_shape) == 3 and item_shape[0] == 1)
    return Layout.REPEAT_GREY if pixels and channels == 3 and grey else Layout.AS_IS
