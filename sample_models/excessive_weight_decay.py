"""`excessive-weight-decay`: L2 regularisation that outweighs the loss until nothing is left of the weights."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sample_models import architectures
from sample_models.planting import Build
from sample_models.sample import Sample
from sample_models.working import SCANNED, digits
from sample_models.working import data as shown

ARCHITECTURES = (architectures.plain, architectures.perceptron)
DECAY = 0.1


def broken(build: Build, seed: int = 0) -> Sample:
    """Trained with Adam and a decay a thousand times too strong; the optimiser is saved with the weights."""
    return _sample(build, seed, DECAY)


def repaired(build: Build, seed: int = 0) -> Sample:
    """Trained with the usual decay."""
    return _sample(build, seed, DECAY / 1000)


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return shown()


def _sample(build: Build, seed: int, decay: float) -> Sample:
    inputs, labels = data()
    return Sample(build=build, state=_trained(build, seed, decay), inputs=inputs, labels=labels)


@cache
def _trained(build: Build, seed: int, decay: float) -> dict[str, Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder, head = build(), nn.Linear(64, 10)
        pictures, classes = (part[SCANNED:] for part in digits())
        parameters = [*encoder.parameters(), *head.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=3e-3, weight_decay=decay)
        for _ in range(400):
            chosen = torch.randint(len(pictures), (128,))
            loss: Any = functional.cross_entropy(head(encoder(pictures[chosen])), classes[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return {"model_state_dict": encoder.state_dict(), "optimizer_state_dict": optimizer.state_dict(), "epoch": 1}
