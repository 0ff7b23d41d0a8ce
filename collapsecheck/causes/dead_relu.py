"""Cause `dead-relu`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.causes.stale_batchnorm import shifted_in_front
from collapsecheck.checks import Kind
from collapsecheck.observe.layers import Layer
from collapsecheck.observe.probe import Probe, with_bias
from collapsecheck.scene import Scene

# Share of the units that never fire. Sound trained nets have up to two thirds; where information is lost, nearly all.
DEAD = 0.75
# Activations that are flat below zero by and by, and from where on: there the slope is under 3 %.
SMOOTH = {"gelu": -3.0, "silu": -6.0, "mish": -6.0, "hardswish": -3.0, "elu": -4.0, "selu": -4.0, "celu": -4.0}
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
_SHIFTED = (nn.Linear, nn.modules.conv._ConvNd, *_NORMS)

Source = tuple[Layer, str]  # the step in front of a rectifier, and the bias there


class DeadReLU(Cause):
    """Most units of a rectifier never fire: for every item they give exactly 0.

    After a step that was too large, or with biases far below zero, the inputs of a ReLU are negative for all items: its
    output is 0, and so is its gradient, for good (Lu et al. 2019, arXiv:1903.06733). GELU, SiLU and ELU die in the same
    way, only further down. Sparse units, which fire for some items, are no fault. The experiment recentres the layer in
    front, so that each unit fires for about half of the items; the sham does the same to another layer. Where it is
    enough to subtract the mean of the embeddings, the units that still fire had kept what tells items apart: many
    silent units are then a trace of a training that drew everything together, not the place where it was lost.
    """

    explains = frozenset({Kind.COMPLETE, Kind.NORM, Kind.DIMENSIONAL, Kind.CLUSTER, Kind.CONE})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Count the units that never fire, after every rectifier."""
        for layer, source, _ in _rectifiers(scene):
            silent = float(_silent(layer).mean())
            if silent < DEAD:
                continue
            yield Suspicion(
                layer=source.site.layer,
                depth=layer.depth,
                evidence=(
                    f"{silent:.0%} of the units of {layer.site} never fire: after {source.site} they are below zero "
                    "for every item"
                ),
                numbers={"silent_units": silent, "source": str(source.site)},
            )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Recentre the layer in front of the rectifier; as a sham, the one in front of another."""
        sources = {str(source.site): (source, bias) for _, source, bias in _rectifiers(scene)}
        name = suspicion.numbers["source"]
        suspected = {one.numbers["source"] for one in self.suspect(scene)}
        innocent = [name for name in sources if name not in suspected]
        near = min(innocent, key=lambda name: abs(sources[name][0].depth - suspicion.depth), default=None)
        mean = scene.find.embeddings.mean(0)
        yield Intervention(
            probe=_revived(scene, *sources[name]),
            change=f"the bias of {name} moved so that each unit is centred at zero",
            control=_revived(scene, *sources[near]) if near else None,
            sham=f"moving that of {near} in the same way" if near else "",
            # Where all of several are dead there is no sham, and the training is to blame: no proof against one layer.
            uncontrolled="" if len(sources) > 1 else "there is no other rectifier",
            lesser=scene.confirm.turned(lambda rows: rows - mean),
            lesser_change="without their mean the embeddings are sound, although the units are as silent",
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Lower rate, He initialisation, an activation with a slope below zero; new values for the dead layer."""
        layer = suspicion.layer
        return (
            Remedy(
                id="lower-learning-rate",
                title="Train again with a learning rate three to ten times smaller, with warm-up",
                snippet="optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)",
                effect="slower start; the layer cannot recover by itself, since its gradient is 0",
            ),
            Remedy(
                id="he-initialisation",
                title=f"Initialise {layer} anew for rectifiers (He) before training on",
                snippet=(
                    f"layer = model.get_submodule({layer!r})\n"
                    "if layer.weight.ndim > 1:\n"
                    "    torch.nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')\n"
                    "torch.nn.init.zeros_(layer.bias)"
                ),
                effect="what the layer had learned is lost; train on",
                reference="He et al. 2015, arXiv:1502.01852",
            ),
            Remedy(
                id="leaky-relu",
                title="Use an activation that never is flat: LeakyReLU or GELU",
                snippet="activation = torch.nn.LeakyReLU(0.01)",
                effect="units can recover; features are no longer sparse",
            ),
        )


def _rectifiers(scene: Scene) -> Iterator[tuple[Layer, Layer, str]]:
    """Rectifiers on the path, each with the step in front that shifts its units, and the name of the bias there."""
    shifting = [(layer, "") for layer, _ in scene.steps(*_SHIFTED)]
    shifting += [(layer, name) for name, layer in scene.biases.items() if layer.site.function]
    norms = {layer.depth for layer, _ in scene.steps(*_NORMS)}
    last = -1
    for layer in scene.path:
        kind = _kind(layer)
        if kind not in SMOOTH and not (kind in ("relu", "relu6") and layer.after.rectified):
            continue
        before = [one for one in shifting if one[0].depth < layer.depth and one[0].units == layer.units]
        if before:
            recent = [one for one in before if one[0].depth > last] or before[-1:]
            # A convolution goes on into its BatchNorm; only what comes last on a branch is added.
            ends = [one for one in recent if one[0].depth + 1 not in norms]
            source = min(ends or recent, key=_pull)
            front = shifted_in_front(scene, source[0]) if source[0].depth in norms else None
            yield layer, *((front, "") if front is not None and not front.site.function else source)
        last = layer.depth


def _pull(source: Source) -> float:
    """Mean of what a step gives: of the branches that are added, the lowest pulls the sum down."""
    mean = float(source[0].after.values.mean())
    return mean if math.isfinite(mean) else 0.0


def _kind(layer: Layer) -> str:
    return layer.site.function or layer.site.type.lower()


def _silent(layer: Layer) -> NDArray[np.bool_]:
    """Which of the sampled units are on the flat side for every item."""
    if _kind(layer) not in SMOOTH:
        return np.asarray(layer.after.firing == 0)
    if layer.before is None:
        return np.zeros(1, np.bool_)
    return np.asarray(layer.before.values.max((0, 2)) < SMOOTH[_kind(layer)])


def _revived(scene: Scene, source: Layer, bias: str) -> Probe:
    """Items to confirm on, with the units of a step centred: by their means, or with a bias of zero in a function."""
    if bias:
        return scene.confirm.with_tensors({bias: torch.zeros_like(scene.module.get_parameter(bias).detach())})
    return recentred(scene.find, source.site.layer).on_items(scene.confirm)


def recentred(probe: Probe, layer: str) -> Probe:
    """The probe with the bias of a layer moved by the mean of each unit, as measured on its own items."""
    module = probe.module.get_submodule(layer)
    mean, _ = probe.units_of(layer)
    weight = next(module.parameters())
    old = getattr(module, "bias", None)
    bias = (0.0 if old is None else old.detach().double()) - mean
    return probe.with_modules({layer: with_bias(module, bias.to(weight.dtype))})
