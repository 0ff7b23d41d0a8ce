"""Objectives to train an encoder by, and the loop they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.zoo_parts.data import Data

Loss = Callable[[Tensor, Tensor], Tensor]


class Objective(NamedTuple):
    """A loss of a batch's inputs and truth, and the modules it needs beside the encoder."""

    loss: Loss
    heads: tuple[nn.Module, ...] = ()


Aim = Callable[[nn.Module, Data, int], Objective]


def fit(
    encoder: nn.Module,
    objective: Objective,
    data: Data,
    *,
    steps: int,
    rate: float = 2e-3,
    weight_decay: float = 0.0,
    batch: int = 128,
    optimiser: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
) -> None:
    """Minimise the objective for a number of batches; leaves the encoder in eval mode."""
    modules = nn.ModuleList([encoder, *objective.heads])
    method = optimiser(modules.parameters(), lr=rate, weight_decay=weight_decay)
    modules.train()
    for rows in _batches(len(data.truth), batch, steps):
        loss = objective.loss(data.inputs[rows], data.truth[rows])
        method.zero_grad()
        loss.backward()
        method.step()
    modules.eval()


def _batches(n: int, batch: int, steps: int) -> Iterable[Tensor]:
    taken = 0
    while taken < steps:
        for rows in torch.randperm(n).split(min(batch, n)):
            if len(rows) < min(batch, n) or taken == steps:
                break
            taken += 1
            yield rows


def cross_entropy(encoder: nn.Module, data: Data, d: int) -> Objective:
    """A linear head; a regression head where the truth is a number."""
    if not data.is_classes:
        head = nn.Linear(d, 1)
        return Objective(lambda x, y: functional.mse_loss(head(encoder(x))[:, 0], y), (head,))
    head = nn.Linear(d, data.classes)
    return Objective(lambda x, y: functional.cross_entropy(head(encoder(x)), y), (head,))


def supervised_contrastive(encoder: nn.Module, _data: Data, _d: int) -> Objective:
    """Khosla et al. 2020, on unit rows, temperature .1."""

    def loss(x: Tensor, y: Tensor) -> Tensor:
        unit = functional.normalize(encoder(x), dim=1)
        itself = torch.eye(len(x), dtype=torch.bool)
        logits = (unit @ unit.T / 0.1).masked_fill(itself, -1e9)
        positive = (y[:, None] == y[None, :]) & ~itself
        share = logits - logits.logsumexp(dim=1, keepdim=True)
        return -(share.masked_fill(~positive, 0).sum(dim=1) / positive.sum(dim=1).clamp(min=1)).mean()

    return Objective(loss)


def contrastive(encoder: nn.Module, _data: Data, _d: int) -> Objective:
    """NT-Xent (Chen et al. 2020) on two random views, temperature .2; labels are not looked at."""

    def loss(x: Tensor, _y: Tensor) -> Tensor:
        unit = functional.normalize(encoder(torch.cat([view(x), view(x)])), dim=1)
        logits = (unit @ unit.T / 0.2).masked_fill(torch.eye(len(unit), dtype=torch.bool), -1e9)
        return functional.cross_entropy(logits, torch.arange(len(unit)).roll(len(x)))

    return Objective(loss)


def triplet(encoder: nn.Module, _data: Data, _d: int) -> Objective:
    """Semi-hard triplets (Schroff et al. 2015) on unit rows, margin .3."""

    def loss(x: Tensor, y: Tensor) -> Tensor:
        unit = functional.normalize(encoder(x), dim=1)
        distance = 2 - 2 * unit @ unit.T
        same = y[:, None] == y[None, :]
        anchor, positive = torch.nonzero(same & ~torch.eye(len(x), dtype=torch.bool), as_tuple=True)
        reach = distance[anchor, positive][:, None]
        others = distance[anchor].masked_fill(same[anchor], 1e3)
        # The nearest negative that is still farther than the positive; failing that, the farthest one.
        semi = others.masked_fill(others <= reach, 1e3).amin(dim=1)
        far = others.masked_fill(others == 1e3, -1).amax(dim=1)
        negative = torch.where(semi < 1e3, semi, far)
        return functional.relu(reach[:, 0] - negative + 0.3).mean()

    return Objective(loss)


def autoencoder(encoder: nn.Module, data: Data, d: int) -> Objective:
    """Rebuild the input from the embedding."""
    size = prod(data.inputs.shape[1:])
    decoder = nn.Sequential(nn.Linear(d, 128), nn.ReLU(), nn.Linear(128, size))
    return Objective(lambda x, y: functional.mse_loss(decoder(encoder(x)), x.flatten(1)), (decoder,))


def vicreg(encoder: nn.Module, _data: Data, d: int) -> Objective:
    """Bardes et al. 2022, all three terms."""

    def loss(x: Tensor, _y: Tensor) -> Tensor:
        first, second = encoder(view(x)), encoder(view(x))
        total = 25 * functional.mse_loss(first, second)
        for rows in (first, second):
            centred = rows - rows.mean(dim=0)
            covariance = centred.T @ centred / (len(rows) - 1)
            total = total + 25 * functional.relu(1 - (covariance.diagonal() + 1e-4).sqrt()).mean()
            total = total + (covariance.square().sum() - covariance.diagonal().square().sum()) / d
        return total

    return Objective(loss)


def regression(encoder: nn.Module, _data: Data, d: int) -> Objective:
    """Ink, its centre and its spread, read off the picture: a target of six numbers."""
    head = nn.Linear(d, 6)

    def target(x: Tensor) -> Tensor:
        mass = x.mean(dim=1).flatten(1) + 1e-6
        share = mass / mass.sum(dim=1, keepdim=True)
        down, right = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in x.shape[2:]), indexing="ij")
        down, right = down.flatten(), right.flatten()
        forms = (down, right, down**2, right**2, down * right)
        return torch.stack([mass.mean(dim=1), *(share @ form for form in forms)], dim=1) * 3

    return Objective(lambda x, y: functional.mse_loss(head(encoder(x)), target(x)), (head,))


def view(x: Tensor) -> Tensor:
    """A random view: noise, and for pictures a shift of the whole batch."""
    noisy = x + 0.15 * torch.randn_like(x)
    if x.dim() < 4:
        return noisy
    most = max(1, x.shape[-1] // 16)
    return torch.roll(noisy, tuple(torch.randint(-most, most + 1, (2,)).tolist()), dims=(2, 3))
