"""Modules whose weights are about to be replaced are made without touching the memory of these."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import nn

from collapsecheck.models.uninitialised import uninitialised


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(8, 8),
        lambda: nn.MultiheadAttention(8, 2),
        lambda: nn.MultiheadAttention(8, 2, kdim=4, vdim=4, add_bias_kv=True),
        lambda: nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
        lambda: nn.LSTM(8, 8),
        torchvision.models.resnet18,
    ],
    ids=["linear", "attention", "attention of other widths", "transformer", "lstm", "resnet18"],
)
def test_nothing_is_drawn_and_all_is_as_before_afterwards(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with uninitialised():
        shapes = {name: tensor.shape for name, tensor in make().state_dict().items()}
    assert torch.equal(torch.get_rng_state(), before)
    made = make()
    assert {name: tensor.shape for name, tensor in made.state_dict().items()} == shapes
    assert not torch.equal(torch.get_rng_state(), before)


def test_an_error_puts_everything_back() -> None:
    with pytest.raises(ValueError, match="wrong"), uninitialised():
        raise ValueError("wrong")
    assert nn.init.xavier_uniform_(torch.zeros(4, 4)).abs().sum() > 0
    assert nn.MultiheadAttention(8, 2).in_proj_weight.abs().sum() > 0
