from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from collapsecheck.models.uninitialised import uninitialised

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(300, 200),
    "convolution": lambda: nn.Conv2d(30, 20, 5),
    "attention": lambda: nn.MultiheadAttention(64, 4),
    "embedding": lambda: nn.Embedding(100, 32),
    "transformer": lambda: nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_no_random_number_is_drawn(make: Callable[[], nn.Module]) -> None:
    before = torch.random.get_rng_state()
    with uninitialised():
        made = make()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert {name: value.shape for name, value in made.state_dict().items()} == {
        name: value.shape for name, value in make().state_dict().items()
    }


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_afterwards_all_is_as_before_even_after_an_error(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    expected = make().state_dict()
    with pytest.raises(ZeroDivisionError), uninitialised():
        _ = 1 / 0
    torch.manual_seed(0)
    found = make().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())
