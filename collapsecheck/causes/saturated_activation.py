"""Cause `saturated-activation`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.observe.layers import Layer
from collapsecheck.observe.probe import Probe, weight_of
from collapsecheck.scene import Scene

# Ends of the ranges of activations with two flat sides, and how near to them the slope is under 2 % of the largest.
RANGES = {"tanh": (-1.0, 1.0, 0.01), "sigmoid": (0.0, 1.0, 0.005), "softsign": (-1.0, 1.0, 0.1),
          "hardtanh": (-1.0, 1.0, 0.0), "hardsigmoid": (0.0, 1.0, 0.0), "relu6": (0.0, 6.0, 0.0)}  # fmt: skip
SATURATED = 0.8
# A gate (a sigmoid) with a bias beyond this is shut or open whatever usual inputs add to it.
GATE = 8.0


class SaturatedActivation(Cause):
    """An activation with two flat ends gets inputs so large that it always gives one of its ends.

    There the output hardly depends on the input, and the gradient is next to 0 (Glorot & Bengio 2010). The experiment
    brings the inputs of the activation back to mean 0 and deviation 1 by scaling the layer in front of it; the sham
    does the same to another layer.
    """

    explains = frozenset({Kind.COMPLETE, Kind.CONE, Kind.DIMENSIONAL, Kind.CLUSTER})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Measure the share of values at an end, after every such activation."""
        for layer, source in _bounded(scene):
            share = _at_the_ends(layer)
            if share < SATURATED:
                continue
            yield Suspicion(
                layer=source.site.layer,
                depth=layer.depth,
                evidence=f"{share:.0%} of the values of {layer.site} are at an end of its range",
                numbers={"saturated": share},
            )

        for layer, module in scene.steps(nn.RNNBase):
            values = layer.after.values
            ends = float((np.abs(values) > 1 - 2 * RANGES["tanh"][2]).mean())
            stuck = _stuck_gates(module)
            if ends < SATURATED and stuck < SATURATED:
                continue
            yield Suspicion(
                layer=layer.site.layer,
                depth=layer.depth,
                evidence=f"{ends:.0%} of the states of {layer.site} are at an end of their range"
                if ends >= SATURATED
                else f"a gate of {layer.site} never moves: {stuck:.0%} of its biases are beyond ±{GATE:g}",
                numbers={"saturated": max(ends, stuck)},
            )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Scale the layer in front; as a sham, the one in front of another activation."""
        if isinstance(scene.module.get_submodule(suspicion.layer), nn.RNNBase):
            yield _relaxed(scene, suspicion.layer)
            return
        sources = [source.site.layer for _, source in _bounded(scene)]
        suspected = {one.layer for one in self.suspect(scene)}
        others = [name for name in sources if name not in suspected]
        near = others[-1] if others else None
        yield Intervention(
            probe=standardised(scene.find, [suspicion.layer]).on_items(scene.confirm),
            change=f"{suspicion.layer} scaled so that its units have mean 0 and deviation 1",
            control=standardised(scene.find, [near]).on_items(scene.confirm) if near else None,
            sham=f"scaling {near} in the same way" if near else "",
            uncontrolled="" if near else "no other activation of this kind can serve as a sham",
        )
        if len(suspected) > 1:
            yield Intervention(
                probe=standardised(scene.find, sorted(suspected, key=sources.index)).on_items(scene.confirm),
                change=f"all {len(suspected)} layers in front of saturated activations scaled in this way",
                control=standardised(scene.find, [near]).on_items(scene.confirm) if near else None,
                sham=f"scaling {near} in the same way" if near else "",
                uncontrolled="" if near else "no other activation of this kind can serve as a sham",
            )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Glorot initialisation, normalisation in front, an activation that does not saturate."""
        layer = suspicion.layer
        return (
            Remedy(
                id="glorot-initialisation",
                title=f"Initialise {layer} to the size its activation expects (Xavier), and normalise the inputs",
                snippet=(
                    f"layer = model.get_submodule({layer!r})\n"
                    "torch.nn.init.xavier_uniform_(layer.weight, gain=torch.nn.init.calculate_gain('tanh'))\n"
                    "torch.nn.init.zeros_(layer.bias)"
                ),
                effect="train again",
                reference="Glorot & Bengio 2010",
            ),
            Remedy(
                id="normalise-before",
                title="Put BatchNorm or LayerNorm in front of the activation",
                snippet=f"norm = torch.nn.LayerNorm({_width(scene, layer)})",
                effect="keeps the inputs in the steep part whatever the weights do",
            ),
            Remedy(
                id="gelu",
                title="Use GELU or ReLU in hidden layers, which have no upper end",
                snippet="activation = torch.nn.GELU()",
            ),
        )


def _bounded(scene: Scene) -> Iterator[tuple[Layer, Layer]]:
    weighted = [layer for layer, _ in scene.steps(nn.Linear, nn.modules.conv._ConvNd)]
    for layer in scene.path:
        if _range(layer) is None:
            continue
        before = [one for one in weighted if one.depth < layer.depth and one.units == layer.units]
        if before:
            yield layer, max(before, key=lambda one: one.depth)


def _stuck_gates(module: nn.Module) -> float:
    """Largest share of the biases of one gate (of one layer) that hold it open or shut whatever comes in."""
    found = 0.0
    gates = {"LSTM": 4, "GRU": 3}.get(type(module).__name__, 1)
    for name, tensor in module.named_parameters():
        other = dict(module.named_parameters()).get(name.replace("bias_ih", "bias_hh"))
        if name.startswith("bias_ih") and other is not None:
            parts = (tensor + other).detach().chunk(gates)
            found = max(found, *(float((part.abs() > GATE).double().mean()) for part in parts))
    return found


def _relaxed(scene: Scene, layer: str) -> Intervention:
    """A recurrent layer brought to the size that torch initialises, with biases of zero; as a sham, another layer."""
    place = f"{layer}."
    inside = [weight for weight in scene.weights if weight.name.startswith(place)]
    tensors = {key: value for weight in inside for key, value in weight.usual().items()}
    names = [name for name, _ in scene.module.get_submodule(layer).named_parameters() if name.startswith("bias")]
    tensors |= {place + name: torch.zeros_like(scene.module.get_parameter(place + name).detach()) for name in names}
    other = next((weight for weight in reversed(scene.weights) if not weight.name.startswith(place)), None)
    return Intervention(
        probe=scene.confirm.with_tensors(tensors),
        change=f"the weights of {layer} scaled to the size of torch's initialisation, and its biases set to zero",
        control=scene.confirm.with_tensors(other.usual()) if other is not None else None,
        sham=f"scaling {other} to that size" if other is not None else "",
        uncontrolled="" if other is not None else "there is no other layer with weights",
    )


def _range(layer: Layer) -> tuple[float, float, float] | None:
    return RANGES.get(layer.site.function or layer.site.type.lower())


def _at_the_ends(layer: Layer) -> float:
    low, high, margin = _range(layer) or (0.0, 0.0, 0.0)
    if not layer.after.finite:
        return 0.0
    values, reach = layer.after.values, margin * (high - low)
    return float(((values <= low + reach) | (values >= high - reach)).mean())


def standardised(probe: Probe, layers: Sequence[str]) -> Probe:
    """The probe with the units of some layers at mean 0 and deviation 1, one after another, measured on its items."""
    for name in layers:
        mean, deviation = probe.units_of(name)
        module = probe.module.get_submodule(name)
        weight = weight_of(module)
        scale = 1 / torch.where(deviation > 1e-12 * deviation.max().clamp(min=1e-30), deviation, 1.0)
        bias = getattr(module, "bias", None)
        shift = (0.0 if bias is None else bias.detach().double()) - mean
        new = {f"{name}.weight": (weight.double() * _along(scale, module, weight)).to(weight.dtype)}
        probe = probe.with_modules({name: _with(module, new[f"{name}.weight"], (shift * scale).to(weight.dtype))})
    return probe


def _along(scale: torch.Tensor, module: nn.Module, weight: torch.Tensor) -> torch.Tensor:
    shape = [1] * weight.ndim
    transposed = isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    shape[1 if transposed else 0] = -1
    return scale.reshape(shape)


def _with(module: nn.Module, weight: torch.Tensor, bias: torch.Tensor) -> nn.Module:
    new = copy.copy(module)
    parameters = {"weight": nn.Parameter(weight, requires_grad=False), "bias": nn.Parameter(bias, requires_grad=False)}
    new._parameters = {**module._parameters, **parameters}
    return new


def _width(scene: Scene, layer: str) -> int:
    found = next((one for one in scene.path if one.site.layer == layer), None)
    return found.units if found is not None else 1
