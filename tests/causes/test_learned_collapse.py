"""Collapses that training itself has caused, in all layers: no single layer is convicted of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from collapsecheck.causes import Status
from sample_models import architectures
from sample_models.working import SCANNED, data, digits
from tests.causes.conftest import scanned

Loss = Callable[[Tensor, Tensor], Tensor]


def attraction(rows: Tensor, classes: Tensor) -> Tensor:
    """Two halves of a batch are pulled together, and nothing is pushed apart."""
    first, second = rows.chunk(2)
    return (first - second).square().sum(1).mean()


def hardest_triplets(rows: Tensor, classes: Tensor) -> Tensor:
    """Farthest positive and nearest negative of each item, margin .2, on rows of any length."""
    distance = (rows[:, None] - rows[None]).square().sum(2)
    same = classes[:, None] == classes[None]
    far, near = distance.masked_fill(~same, 0).amax(1), distance.masked_fill(same, torch.inf).amin(1)
    return functional.relu(far - near + 0.2).mean()


def taught(build: Callable[[], nn.Module], loss: Loss, rate: float, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = build()
        pictures, classes = (part[SCANNED:] for part in digits())
        optimizer = torch.optim.Adam(encoder.parameters(), lr=rate)
        for _ in range(120):
            chosen = torch.randint(len(pictures), (64,))
            optimizer.zero_grad()
            loss(encoder(pictures[chosen]), classes[chosen]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return encoder.eval().requires_grad_(requires_grad=False)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("build", [architectures.plain, architectures.perceptron])
@pytest.mark.parametrize(("loss", "rate"), [(attraction, 2e-3), (hardest_triplets, 3e-2)])
def test_many_silent_units_that_training_left_are_no_dead_layer(
    build: Callable[[], nn.Module], loss: Loss, rate: float, seed: int
) -> None:
    _, verdict, diagnoses = scanned(taught(build, loss, rate, seed), *data())
    assert verdict.kind is not None
    assert not [one.cause for one in diagnoses if one.status is Status.CONFIRMED]
