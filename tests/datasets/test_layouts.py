from __future__ import annotations

import pytest
import torch

from collapsecheck.datasets.layouts import Layout, layout_for


@pytest.mark.parametrize(
    ("item_shape", "channels", "pixels", "after"),
    [
        ((8, 6), 1, True, (1, 8, 6)),
        ((8, 6), 1, False, (1, 8, 6)),
        ((1, 8, 6), 1, True, (1, 8, 6)),
        ((8, 6, 1), 1, True, (1, 8, 6)),
        ((8, 6, 3), 3, True, (3, 8, 6)),
        ((8, 6, 3), 3, False, (3, 8, 6)),
        ((3, 8, 6), 3, True, (3, 8, 6)),
        ((3, 8, 3), 3, True, (3, 8, 3)),
        ((8, 6), 3, True, (3, 8, 6)),
        ((1, 8, 6), 3, True, (3, 8, 6)),
        ((8, 6), 3, False, (8, 6)),
        ((8, 6), None, True, (8, 6)),
        ((100,), 1, False, (1, 100)),
        ((100, 12), 12, False, (12, 100)),
        ((12, 100), 12, False, (12, 100)),
        ((5,), 3, False, (5,)),
    ],
)
def test_the_layout_follows_the_first_convolution(
    item_shape: tuple[int, ...], channels: int | None, pixels: bool, after: tuple[int, ...]
) -> None:
    layout = layout_for(item_shape, channels, pixels)
    assert layout.shape(item_shape, channels) == after
    assert layout.apply(torch.zeros(2, *item_shape), channels).shape == (2, *after)
    assert (layout is Layout.AS_IS) == (item_shape == after)


def test_values_stay_at_their_pixel() -> None:
    rows = torch.arange(2 * 4 * 5 * 3).reshape(2, 4, 5, 3)
    moved = layout_for((4, 5, 3), 3, True).apply(rows, 3)
    assert torch.equal(moved[1, 2], rows[1, :, :, 2])
