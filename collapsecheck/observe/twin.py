"""An untrained twin: the same architecture with fresh weights, to tell what training has done from what depth does."""

from __future__ import annotations

import copy

import torch
from torch import nn

from collapsecheck.observe.probe import Probe


def untrained(probe: Probe, seed: int = 0) -> Probe:
    """The probe with every layer that can as its class initialises it; what has no way to do so keeps its numbers.

    Layers that normalise by running statistics get those of the probe's own items: a fresh one that had seen nothing
    would not normalise at all.
    """
    module = copy.deepcopy(probe.module)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for part in module.modules():
            reset = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
            if callable(reset):
                reset()
    return _with_own_statistics(probe, module)


def recalibrated(probe: Probe) -> Probe:
    """The probe with running statistics of its own items; the very same where there are none."""
    return _with_own_statistics(probe, copy.deepcopy(probe.module)) if _running(probe.module) else probe


def _with_own_statistics(probe: Probe, module: nn.Module) -> Probe:
    """The items of a probe through a module of ours, whose running statistics are replaced by those of the items."""
    running = _running(module)
    for part in running:
        part.reset_running_stats()
        part.momentum = None  # a plain average over all batches
        part.train()
    if running:
        _ = probe.on(module).embeddings
    for part in running:
        part.eval()
    return probe.on(module)


def _running(module: nn.Module) -> list[nn.modules.batchnorm._NormBase]:
    norms = (part for part in module.modules() if isinstance(part, nn.modules.batchnorm._NormBase))
    return [part for part in norms if part.track_running_stats]
