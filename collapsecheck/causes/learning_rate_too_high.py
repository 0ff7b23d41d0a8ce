"""Cause `learning-rate-too-high`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from torch import nn

from collapsecheck.causes import Cause, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.scene import Scene

# Median `Weight.size` (0.58 as torch initialises, trained ones 0.2 to 3) that only steps that are too large lead to,
# and where the optimiser's rate is out of the usual range as well.
GROWN, GROWN_AS_TOLD = 4.0, 1.8
# The same where training has drawn items together in several layers. (He initialisation has 1.4.)
GROWN_AND_LEARNT = 1.6
# Biases begin at 0 or below 1/√fan-in; so large they are only after steps that were too large.
LARGE_BIAS = 0.15
# Rates from which training is at risk: of what moves every weight by about the rate per step, and of plain SGD.
RISKY, RISKY_SGD = 0.02, 0.5
# Largest share of the weights that may still look as if drawn at random: an initialisation can be too large as well.
MOST_FRESH = 0.5


class LearningRateTooHigh(Cause):
    """Steps that were too large blew the weights up: rectifiers die, other activations saturate, or all overflows.

    Nearly all weights and biases are several times as large as any initialiser or sound training leaves them, which a
    fault of one layer does not do. The optimiser's state in the checkpoint, where there is one, tells the rate. What
    dies then is a consequence (Lu et al. 2019, arXiv:1903.06733). That it was the rate, only training again can prove.
    """

    explains = frozenset(Kind)

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Look at the size of all weights and biases, and at the settings of the optimiser."""
        recipe = scene.recipe
        risky = recipe.rate is not None and recipe.rate >= (RISKY if recipe.adaptive else RISKY_SGD)
        told = f"; the checkpoint tells of a rate of {recipe.rate:g}" if risky else ""
        told += f" ({recipe.kind})" if told and recipe.kind else ""
        everywhere = frozenset(layer.site.layer for layer in scene.path)
        if scene.kind is Kind.NON_FINITE:
            broken = [name for name, tensor in scene.module.named_parameters() if not tensor.isfinite().all()]
            total = sum(1 for _ in scene.module.parameters())
            if risky and 2 * len(broken) > total:
                evidence = f"NaN or Inf is in {len(broken)} of {total} tensors, not in one layer{told}"
                yield Suspicion(layer="", depth=-0.5, evidence=evidence, known=True, roots=everywhere)
            return
        weights = [
            weight for weight in scene.weights if not isinstance(_module(scene, weight.layer.site.layer), nn.Embedding)
        ]
        sizes = np.array([weight.size for weight in weights])
        if len(sizes) < 2 or not np.isfinite(sizes).all():
            return
        grown = float(np.median(sizes))
        least = GROWN_AS_TOLD if risky else GROWN
        together = scene.learnt_collapse
        learnt = together is not None and together.sure and grown >= GROWN_AND_LEARNT
        if (grown < least or not _biases_grown(scene)) and not learnt:
            return
        fresh = scene.freshness.share
        if fresh is not None and fresh > MOST_FRESH:
            return
        yield Suspicion(
            layer="",
            depth=-0.5,
            evidence=(
                f"weights have grown in all layers, the median of {len(sizes)} is {grown / 0.58:.0f} times as large as "
                f"torch initialises{', and so have the biases' if not learnt else ', and draw items together'}{told}"
            ),
            known=True,
            roots=everywhere,
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """A lower rate, with warm-up, and gradients that are clipped."""
        return (
            Remedy(
                id="lower-learning-rate",
                title="Train again with a rate ten times smaller, with warm-up",
                snippet=(
                    "optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)\n"
                    "warmup = torch.optim.lr_scheduler.LinearLR(\n"
                    "    optimizer, start_factor=0.01, total_iters=500)"
                ),
                effect="start from an earlier checkpoint or anew: what is dead stays dead",
            ),
            Remedy(
                id="clip-gradients",
                title="Clip the gradients before each step",
                snippet="torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)",
                effect="one bad batch can no longer throw the weights far away",
                reference="Pascanu et al. 2013, arXiv:1211.5063",
            ),
        )


def _module(scene: Scene, layer: str) -> nn.Module:
    return scene.module.get_submodule(layer)


def _biases_grown(scene: Scene) -> bool:
    """Whether the median of the biases is large, or there are none."""
    sizes = [
        math.sqrt(float(scene.module.get_parameter(name).detach().double().square().mean())) for name in scene.biases
    ]
    return not sizes or float(np.median(sizes)) > LARGE_BIAS
