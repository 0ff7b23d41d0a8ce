"""Cause `excessive-weight-decay`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.observe.weights import Weight
from collapsecheck.scene import Scene

# `Weight.size` below which a matrix has decayed: torch's initialisation has 0.58, trained ones 0.2 to 3.
DECAYED = 0.03
# Biases begin at up to 1/√fan-in, or at exactly 0, scales of normalisation at 1: decay is what makes these small.
SMALL_BIAS, SMALL_SCALE = 1e-3, 0.3
# Decay that is out of the usual range: added to the gradient (L2), or taken off the weights as in AdamW.
LARGE_L2, LARGE_DECOUPLED = 0.05, 1.0
# A matrix that strong decay has been at, where the optimiser's settings say that there was some.
SHRUNK = 0.15
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


class ExcessiveWeightDecay(Cause):
    """Weight decay (L2) was stronger than the loss: it pulled all parameters to zero, and the embedding with them.

    All weights are tiny, and so are biases and the scales of normalisation, which no initialiser makes small: that
    tells decay from an initialisation that was too small. The optimiser's state in the checkpoint, where there is one,
    says how strong it was. The experiment brings all weights back to the size of torch's initialisation, and scales of
    normalisation to 1; the sham does so with a single layer.
    """

    explains = frozenset({Kind.COMPLETE, Kind.NORM, Kind.CONE, Kind.CLUSTER, Kind.DIMENSIONAL})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Look at the size of every parameter, and at the settings of the optimiser."""
        weights = [weight for weight in scene.weights if not isinstance(_module(scene, weight), nn.Embedding)]
        if not weights:
            return
        depth = min(weight.layer.depth for weight in weights) - 0.5
        told = _told(scene)
        if max(weight.size for weight in weights) < DECAYED and _rest_decayed(scene):
            sizes = sorted(weight.size for weight in weights)
            yield Suspicion(
                layer="",
                depth=depth,
                evidence=(
                    f"all {len(weights)} weights are tiny, the median {0.58 / max(sizes[len(sizes) // 2], 1e-300):.2g} "
                    f"times smaller than torch initialises, and so is what begins at 0 or 1 and nothing but decay "
                    f"shrinks{told}"
                ),
                known=True,
                roots=frozenset(layer.site.layer for layer in scene.path),
            )
            return
        shrunk = [weight for weight in weights if weight.size < SHRUNK]
        if told and 2 * len(shrunk) >= len(weights):
            yield Suspicion(
                layer="",
                depth=depth,
                evidence=f"{len(shrunk)} of {len(weights)} weights have shrunk{told}",
                known=True,
            )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Undo the decay everywhere; as a sham, in the last layer alone."""
        small = [weight for weight in scene.weights if 0 < weight.size < SHRUNK]
        if not small:
            return
        yield Intervention(
            probe=scene.confirm.with_tensors({**_usual(small), **_scales(scene)}),
            change=f"{len(small)} weights brought to the size of torch's initialisation, scales of normalisation to 1",
            control=scene.confirm.with_tensors(_usual(small[-1:])) if len(small) > 1 else None,
            sham=f"doing so with {small[-1]} alone" if len(small) > 1 else "",
            uncontrolled="" if len(small) > 1 else "there is no other layer",
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Less decay, decoupled, on matrices only."""
        return (
            Remedy(
                id="less-weight-decay",
                title="Train again with decoupled decay of 0.01, and none on biases and normalisation",
                snippet=(
                    "matrices = [p for p in model.parameters() if p.ndim > 1]\n"
                    "others = [p for p in model.parameters() if p.ndim < 2]\n"
                    "optimizer = torch.optim.AdamW([\n"
                    "    {'params': matrices, 'weight_decay': 1e-2},\n"
                    "    {'params': others, 'weight_decay': 0.0},\n"
                    "], lr=1e-3)"
                ),
                effect="what was learned is lost: start from an earlier checkpoint or anew",
                reference="Loshchilov & Hutter 2019, arXiv:1711.05101",
            ),
        )


def _module(scene: Scene, weight: Weight) -> nn.Module:
    return scene.module.get_submodule(weight.layer.site.layer)


def _rest_decayed(scene: Scene) -> bool:
    """Whether biases, where they are not exactly 0 from the start, and scales of normalisation are small too."""
    biases = [scene.module.get_parameter(name).detach() for name in scene.biases]
    sizes = [float(bias.double().square().mean().sqrt()) for bias in biases]
    known = [size for size in sizes if size > 0]
    scales = [float(scale.double().abs().mean()) for scale in _norms(scene).values()]
    if any(size > SMALL_BIAS for size in known) or any(scale > SMALL_SCALE for scale in scales):
        return False
    return bool(known or scales)


def _norms(scene: Scene) -> dict[str, Tensor]:
    """The scales of normalisation on the path, by name."""
    return {
        f"{layer.site.layer}.weight": module.weight.detach()
        for layer, module in scene.steps(*_NORMS)
        if isinstance(module.weight, Tensor)
    }


def _scales(scene: Scene) -> dict[str, Tensor]:
    return {name: torch.ones_like(scale) for name, scale in _norms(scene).items() if scale.abs().mean() < SMALL_SCALE}


def _usual(weights: Sequence[Weight]) -> dict[str, Tensor]:
    changed: dict[str, Tensor] = {}
    for weight in weights:
        changed.update(weight.usual())
    return changed


def _told(scene: Scene) -> str:
    """What the checkpoint says of the decay, if that is out of the usual range."""
    recipe = scene.recipe
    if recipe.weight_decay is None:
        return ""
    large = LARGE_DECOUPLED if (recipe.kind or "").startswith(("AdamW", "Lion", "Muon")) else LARGE_L2
    if recipe.weight_decay < large:
        return ""
    kind = f" of {recipe.kind}" if recipe.kind else ""
    return f"; the checkpoint tells of a weight decay{kind} of {recipe.weight_decay:g}"
