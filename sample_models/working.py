"""Working models to break, and the handwritten digits that they are trained and scanned on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sample_models.make_digits import all_digits

Build = Callable[[], nn.Module]
SCANNED = 400
STEPS, BATCH = 200, 128
# Folder in which trained models are kept from run to run, by architecture and seed; None trains them anew.
kept_in: Path | None = None


@cache
def digits() -> tuple[Tensor, Tensor]:
    """All 1797 pictures ``[n, 1, 8, 8]`` in 0..1 and their classes ``[n]``, shuffled."""
    pixels, classes = all_digits()
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0))
    return torch.from_numpy(pixels)[order, None].float() / 255, torch.from_numpy(classes)[order]


def data() -> tuple[Tensor, Tensor]:
    """The pictures to scan, which no training sees, and their classes."""
    pictures, classes = digits()
    return pictures[:SCANNED].clone(), classes[:SCANNED].clone()


@cache
def _trained(build: Build, seed: int) -> nn.Module:
    file = kept_in / f"{build.__name__}-{seed}.pt" if kept_in is not None else None
    if file is not None and file.exists():
        with torch.random.fork_rng(devices=[]):
            encoder = build()
        encoder.load_state_dict(torch.load(file))
        return encoder.eval()
    encoder = _train(build, seed)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(encoder.state_dict(), file)
    return encoder


def _train(build: Build, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = build()
        head = nn.Linear(64, 10)
        pictures, classes = (part[SCANNED:] for part in digits())
        optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=2e-3)
        encoder.train()
        for _ in range(STEPS):
            chosen = torch.randint(len(pictures), (BATCH,))
            rows = encoder(pictures[chosen])
            scores = head(rows) if rows.shape[1] == 64 else rows.clamp(min=1e-9).log()  # of a classifier: probabilities
            loss: Any = functional.cross_entropy(scores, classes[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return encoder.eval()


def working(build: Build, seed: int = 0) -> nn.Module:
    """A copy of a model of this architecture that tells digits apart; it may be broken at will."""
    return copy.deepcopy(_trained(build, seed)).requires_grad_(requires_grad=False)
