"""`stale-batchnorm`: running statistics that one bad batch has exploded, or that momentum 0 never updated."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working


def broken(build: Build, seed: int = 0) -> Sample:
    """The last batch of training had an outlier of a million; in the residual net momentum was 0 from the start."""
    encoder = working(build, seed)
    norms = {name: module for name, module in encoder.named_modules() if isinstance(module, _BatchNorm)}
    first = next(iter(norms))
    if build is architectures.residual:
        for module in norms.values():
            module.reset_running_stats()
        return handed(build, encoder, first)
    _train(encoder, one_bad_batch=True)
    return handed(build, encoder, first)


def repaired(build: Build, seed: int = 0) -> Sample:
    """The same weights; the statistics as they were learned."""
    return handed(build, working(build, seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = (architectures.normalised, architectures.residual, architectures.normalised_perceptron)


def _train(encoder: nn.Module, *, one_bad_batch: bool) -> None:
    """One forward pass in training mode, after which only the running statistics are others."""
    pictures = digits()[0][:64].clone()
    if one_bad_batch:
        pictures[0] = 1e6
    encoder.train()
    with torch.no_grad():
        encoder(pictures)
    encoder.eval()
