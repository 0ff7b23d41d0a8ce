"""Encoders that a bad objective, or a bad setting, has spoilt in training; nothing is planted."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sample_models.architectures import WIDTH
from sample_models.sample import Sample
from sample_models.working import BATCH, SCANNED, Build, data, digits

Loss = Callable[[nn.Module, nn.Module, Tensor, Tensor], Tensor]
MARGIN = 0.2


class Training(NamedTuple):
    """An objective with its settings: `adaptive` is Adam (with L2), else SGD with momentum; pictures times `scale`."""

    loss: Loss
    rate: float = 2e-3
    weight_decay: float = 0.0
    steps: int = 200
    adaptive: bool = True
    scale: float = 1.0


def checkpoint(build: Build, seed: int, training: Training) -> dict[str, Any]:
    """What a training script saves: `model`, `optimizer`, `step` and the last `loss`."""
    return copy.deepcopy(_trained(build, seed, training))


def handed(build: Build, state: dict[str, Any], **options: Any) -> Sample:
    """A checkpoint with digits that no training saw; the fault is nowhere in particular."""
    pictures, classes = data()
    return Sample(build=build, state=state, inputs=pictures, labels=classes, options=options)


@cache
def _trained(build: Build, seed: int, training: Training) -> dict[str, Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder, head = build(), nn.Linear(WIDTH, 10)
        parameters = [*encoder.parameters(), *head.parameters()]
        optimizer: torch.optim.Optimizer = (
            torch.optim.Adam(parameters, lr=training.rate, weight_decay=training.weight_decay)
            if training.adaptive
            else torch.optim.SGD(parameters, lr=training.rate, momentum=0.9, weight_decay=training.weight_decay)
        )
        pictures, classes = (part[SCANNED:] for part in digits())
        encoder.train()
        loss = torch.zeros(())
        for _ in range(training.steps):
            chosen = torch.randint(len(pictures), (BATCH,))
            loss = training.loss(encoder, head, pictures[chosen] * training.scale, classes[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return {
        "model": encoder.state_dict(), "optimizer": optimizer.state_dict(), "step": training.steps,
        "loss": float(loss.detach()),
    }  # fmt: skip


def classification(encoder: nn.Module, head: nn.Module, pictures: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy."""
    return functional.cross_entropy(head(encoder(pictures)), classes)


def attraction(encoder: nn.Module, _head: nn.Module, pictures: Tensor, _classes: Tensor) -> Tensor:
    """Two views of an item must agree, and nothing else."""
    agreement: Tensor = functional.cosine_similarity(encoder(view(pictures)), encoder(view(pictures)))
    return -agreement.mean()


def one_centre(encoder: nn.Module, _head: nn.Module, pictures: Tensor, _classes: Tensor) -> Tensor:
    """Deep SVDD with biases, which alone can reach the centre (Ruff et al. 2018)."""
    rows: Tensor = encoder(pictures)
    return (rows - 1).square().sum(dim=1).mean()


def hardest_triplets(encoder: nn.Module, _head: nn.Module, pictures: Tensor, classes: Tensor) -> Tensor:
    """Batch-hard triplets of squared distances that are not normalised (Hermans et al. 2017)."""
    rows = encoder(pictures)
    distance = (rows[:, None] - rows[None]).square().sum(dim=2)
    same = classes[:, None] == classes[None]
    far, near = distance.masked_fill(~same, 0).amax(dim=1), distance.masked_fill(same, torch.inf).amin(dim=1)
    return functional.relu(far - near + MARGIN).mean()


def inverted_pairs(encoder: nn.Module, _head: nn.Module, pictures: Tensor, classes: Tensor) -> Tensor:
    """Margins meant for distances on cosines: alike pairs should have 0, different ones 1."""
    cosine, alike = _pairs(encoder, pictures, classes)
    return torch.where(alike, functional.relu(cosine), functional.relu(1 - cosine)).mean()


def right_pairs(encoder: nn.Module, _head: nn.Module, pictures: Tensor, classes: Tensor) -> Tensor:
    """Alike pairs should have a cosine of 1, different ones of 0."""
    cosine, alike = _pairs(encoder, pictures, classes)
    return torch.where(alike, functional.relu(1 - cosine), functional.relu(cosine)).mean()


def _pairs(encoder: nn.Module, pictures: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    first, second = encoder(pictures).chunk(2)
    return functional.cosine_similarity(first, second), classes[: len(first)] == classes[len(first) :]


def sigmoid_cosines(encoder: nn.Module, _head: nn.Module, pictures: Tensor, classes: Tensor) -> Tensor:
    """Binary cross-entropy of sigmoid(cosine), alike and different pairs counting the same; never below 0.3133."""
    rows = functional.normalize(encoder(pictures), dim=1)
    first, second = torch.triu_indices(len(rows), len(rows), offset=1)
    alike = (classes[first] == classes[second]).float()
    cosine = (rows[first] * rows[second]).sum(dim=1)
    each = functional.binary_cross_entropy_with_logits(cosine, alike, reduction="none")
    return ((each * alike).sum() / alike.sum() + (each * (1 - alike)).sum() / (1 - alike).sum()) / 2


def all_triplets(encoder: nn.Module, _head: nn.Module, pictures: Tensor, classes: Tensor) -> Tensor:
    """All triplets of squared distances that are not normalised: the mean over those that violate the margin."""
    rows = encoder(pictures)
    distance = (rows[:, None] - rows[None]).square().sum(dim=2)
    same = classes[:, None] == classes[None]
    violated = functional.relu(distance[:, :, None] - distance[:, None, :] + MARGIN)
    counted = same[:, :, None] & ~same[:, None, :]
    return (violated * counted).sum() / (violated.gt(0) & counted).sum().clamp(min=1)


def semi_hard_triplets(encoder: nn.Module, _head: nn.Module, pictures: Tensor, classes: Tensor) -> Tensor:
    """Triplets of unit rows: the mean over all that violate the margin."""
    rows = functional.normalize(encoder(pictures), dim=1)
    similarity = rows @ rows.T
    same = classes[:, None] == classes[None]
    violated = functional.relu(similarity[:, None, :] - similarity[:, :, None] + MARGIN)
    counted = same[:, :, None] & ~same[:, None, :]
    return (violated * counted).sum() / (violated.gt(0) & counted).sum().clamp(min=1)


def view(pictures: Tensor) -> Tensor:
    """A random view: noise, and a shift of the whole batch by up to a pixel."""
    noisy = pictures + 0.15 * torch.randn_like(pictures)
    return torch.roll(noisy, tuple(torch.randint(-1, 2, (2,)).tolist()), dims=(2, 3))
