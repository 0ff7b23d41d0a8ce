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
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._NormBase)]
    twin = probe.on(module)
    running = [part for part in norms if part.track_running_stats]
    if running:
        for part in running:
            part.momentum = None  # a plain average over all batches
            part.train()
        _ = twin.embeddings
        for part in running:
            part.eval()
        twin = probe.on(module)  # what was computed on the way is not kept
    return twin
