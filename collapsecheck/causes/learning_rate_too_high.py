"""Cause `learning-rate-too-high`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from torch import nn

from collapsecheck.causes import Cause, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.learnt import LearntCollapse
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
# Median size below which steps are large because the weights are small, as weight decay makes them.
USUAL = 0.2
# Next step over weights, as the moments imply it, that no sound training has (in benchmarks/optimisers.py they reach
# 0.02 at the last rate and 0.05 at the peak of the schedule, those at a rate 30 to 300 times too high 0.13 to 0.3 while
# they live; the same bound as in AutoTrainer, Zhang et al. 2021); only weights of a usual size tell by it, and not
# Adam's first steps, which are as large as the rate.
THROWN, LEAST_STEPS = 0.1, 50
# Running mean of the gradients over their size where no gradient comes any more; 0.0014 in a sound training whose loss
# was all but zero, 0.05 and more in others.
SILENT = 1e-4
# So many times a risky rate explains a collapse that was learnt, whatever the weights have become. What normalisation
# protects stands more: large batches are trained at SGD's 3.2 (Goyal et al. 2017, arXiv:1706.02677).
EXTREME, EXTREME_NORMALISED = 2.0, 10.0
# Largest share of the weights that may still look as if drawn at random: an initialisation can be too large as well.
MOST_FRESH = 0.5
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class LearningRateTooHigh(Cause):
    """Steps that were too large blew the weights up: rectifiers die, other activations saturate, or all overflows.

    Nearly all weights and biases are several times as large as any initialiser or sound training leaves them, which a
    fault of one layer does not do. The optimiser's state in the checkpoint, where there is one, tells the rate. What
    dies then is a consequence (Lu et al. 2019, arXiv:1903.06733). Its moments tell the size of the next step: about a
    thousandth of the weights is usual, a tenth is not. That it was the rate, only training again can prove.
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
        moments, thrown = _moments(scene, grown)
        told += moments
        least = GROWN_AS_TOLD if risky else GROWN
        together = scene.learnt_collapse
        learnt = together is not None and together.sure and grown >= GROWN_AND_LEARNT
        blown_up = grown >= least and _biases_grown(scene)
        extreme = risky and together is not None and _extreme(scene)
        if not blown_up and not learnt and not thrown and not extreme:
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
                if blown_up or learnt
                else f"{_restless(together) if extreme else 'all weights move so far that nothing settles'}{told}"
            ),
            known=True,
            roots=everywhere if blown_up or learnt else together.roots if together is not None else frozenset(),
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


def _extreme(scene: Scene) -> bool:
    normalised = any(isinstance(module, _NORMS) for module in scene.module.modules())
    risky = RISKY if scene.recipe.adaptive else RISKY_SGD
    return (scene.recipe.rate or 0.0) >= risky * (EXTREME_NORMALISED if normalised else EXTREME)


def _restless(together: LearntCollapse | None) -> str:
    layers = together.layers if together is not None else 0
    return f"training has brought items together in {layers} layers, at a rate that is out of all usual range"


def _moments(scene: Scene, grown: float) -> tuple[str, bool]:
    """What the moments of the optimiser tell, and whether that is a step that no weights of a usual size survive."""
    facts = scene.optimiser if scene.recipe.rate is not None else None
    if facts is None or not facts.fits:
        return "", False
    updates = facts.updates
    if updates is not None and updates.median >= THROWN:
        lasting = facts.steps is None or facts.steps[0] >= LEAST_STEPS
        told = f"; its moments imply a next step of {updates.median:.2g} times the weights, where 0.001 is usual"
        return told, lasting and grown >= USUAL
    if facts.silence is not None and facts.silence < SILENT:
        return "; its moments tell that hardly any gradient comes any more", False
    return "", False


def _module(scene: Scene, layer: str) -> nn.Module:
    return scene.module.get_submodule(layer)


def _biases_grown(scene: Scene) -> bool:
    """Whether the median of the biases is large, or there are none."""
    sizes = [
        math.sqrt(float(scene.module.get_parameter(name).detach().double().square().mean())) for name in scene.biases
    ]
    return not sizes or float(np.median(sizes)) > LARGE_BIAS
