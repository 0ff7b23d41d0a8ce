from __future__ import annotations

import pytest
import torch
from torch import nn

from collapsecheck.models.adaptation import follow_channels, put, take_off


def network(channels: int = 3, **options: object) -> nn.Sequential:
    first = nn.Conv2d(channels, 8, 3, stride=2, padding=1, dilation=2, padding_mode="reflect", bias=False, **options)  # type: ignore[arg-type]
    return nn.Sequential(nn.Identity(), nn.Sequential(first, nn.ReLU()), nn.Flatten(), nn.Linear(8, 2))


@pytest.mark.parametrize("channels", [1, 2, 4, 13])
def test_the_first_convolution_follows_the_weights(channels: int) -> None:
    model = network()
    follow_channels(model, {"1.0.weight": (8, channels, 3, 3)})
    first = model.get_submodule("1.0")
    assert isinstance(first, nn.Conv2d)
    assert first.in_channels == channels
    assert (first.stride, first.padding, first.dilation) == ((2, 2), (1, 1), (2, 2))
    assert (first.padding_mode, first.bias) == ("reflect", None)
    assert first(torch.zeros(1, channels, 9, 9)).shape[1] == 8


@pytest.mark.parametrize("shape", [(8, 3, 3, 3), (8, 1, 5, 5), (4, 1, 3, 3), (8, 0, 3, 3), (8, 1), (), None])
def test_anything_else_is_left_for_the_comparison_to_report(shape: tuple[int, ...] | None) -> None:
    model = network()
    before = model.get_submodule("1.0")
    follow_channels(model, {"1.0.weight": shape})
    assert model.get_submodule("1.0") is before


def test_a_grouped_convolution_stays() -> None:
    model = network(4, groups=2)
    before = model.get_submodule("1.0")
    follow_channels(model, {"1.0.weight": (8, 1, 3, 3)})
    assert model.get_submodule("1.0") is before


def test_nothing_to_follow() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    follow_channels(model, {"0.weight": (2, 9)})
    follow_channels(network(), {})
    assert model[0].in_features == 3


def test_parts_are_taken_off_and_put() -> None:
    model = network()
    take_off(model, ["1.1", "3"])
    assert isinstance(model.get_submodule("1.1"), nn.Identity)
    assert isinstance(model.get_submodule("3"), nn.Identity)
    put(model, "1.1", nn.Tanh())
    put(model, "0", nn.Dropout())
    assert isinstance(model.get_submodule("1.1"), nn.Tanh)
    assert isinstance(model[0], nn.Dropout)
