"""What a recipe is, and the evidence, apart from any collapse statistic, that a model does its task."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

HEALTHY = frozenset({"healthy"})
COLLAPSED = frozenset({"collapsed"})
DEGRADED = frozenset({"degraded"})
FAULTY = frozenset({"degraded", "collapsed"})


class Sample(NamedTuple):
    """What a scan would see, and a score: 0 is chance, 1 is perfect; None where there is no task to measure."""

    embeddings: Tensor
    inputs: Tensor
    labels: Tensor | None
    score: float | None


class Whole(NamedTuple):
    """A trained model and what it is to be scanned on; `score` is as in `Sample`."""

    encoder: nn.Module
    inputs: Tensor
    labels: Tensor | None
    score: float | None


class Recipe(NamedTuple):
    """How to make one case from a seed. `kept` says from the score whether training came out as intended.

    Where the case is a model and not only its embeddings, `whole` gives that model and `build` an untrained one for
    inputs of a shape.
    """

    name: str
    expected: frozenset[str]
    kind: str | None
    make: Callable[[int], Sample]
    kept: Callable[[float], bool]
    whole: Callable[[int], Whole] | None = None
    build: Callable[[tuple[int, ...]], nn.Module] | None = None


def embed(encoder: nn.Module, inputs: Tensor) -> Tensor:
    """All rows in eval mode, in batches."""
    encoder.eval()
    with torch.inference_mode():
        return torch.cat([encoder(part) for part in inputs.split(512)]).clone()


def score(embeddings: Tensor, truth: Tensor, k: int = 5) -> float:
    """k nearest neighbours by cosine, each row left out in turn, on at most 1000 rows.

    Classes: accuracy, rescaled so that always guessing the largest class is 0. Numbers: R². Cosines are
    taken in float64 of what the model gave in float32, so that this measures the embeddings, not itself.
    """
    rows, truth = embeddings[:1000].double(), truth[:1000]
    if not rows.isfinite().all():
        return 0.0
    unit = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-300)
    cosine = unit @ unit.T
    cosine.fill_diagonal_(-2)
    near = truth[cosine.topk(k, dim=1).indices]
    if truth.is_floating_point():
        return float(1 - (near.mean(dim=1) - truth).square().mean() / truth.var(unbiased=False))
    chance = float(torch.bincount(truth).max()) / len(truth)
    votes = near.mode(dim=1).values
    return float(((votes == truth).double().mean() - chance) / (1 - chance))


def numbers(embeddings: np.ndarray) -> dict[str, float]:
    """Mean cosine, spread and effective rank of unit rows, by the obvious float64 formulas on the finite rows."""
    x = embeddings[np.isfinite(embeddings).all(axis=1)].astype(np.float64)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    unit = (x / np.where(norms > 0, norms, 1))[norms[:, 0] > 0]
    if len(unit) < 2:
        return dict.fromkeys(("cosine", "spread", "rank"), float("nan"))
    n = len(unit)
    centred = unit - unit.mean(axis=0)
    values = np.linalg.svd(centred, compute_uv=False)
    share = values[values > 0] / values.sum() if values.sum() > 0 else np.ones(1)
    return {
        "cosine": float((np.square(unit.sum(axis=0)).sum() - n) / (n * (n - 1))),
        "spread": float(np.linalg.norm(centred) / np.sqrt(n)),
        "rank": float(np.exp(-(share * np.log(share)).sum())),
    }
