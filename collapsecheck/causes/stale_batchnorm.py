"""Cause `stale-batchnorm`."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.observe.layers import Layer
from collapsecheck.observe.probe import Probe
from collapsecheck.scene import Scene

# In units of the running deviation; other data of the same kind differ by 0.1 to 0.5.
FAR_MEAN = 2.0
# Factor between the deviations; the same data on a narrower crop stay within 2.
FAR_DEVIATION = 4.0
# The inputs are off by one factor if the median of the units is this close to it, on a logarithmic scale (positions are
# a sample), half of the units this close to that median, and the means with that factor as many running deviations. One
# outlier in training spreads the units by 0.3 and more.
SAME, ALIKE, SAME_MEAN = 0.7, 0.25, 1.0


class StaleBatchNorm(Cause):
    """Running statistics of BatchNorm do not belong to what comes in now.

    In evaluation mode BatchNorm subtracts a stored mean and divides by a stored deviation (Ioffe & Szegedy 2015). Where
    they are stale, never updated, or exploded, all items are pushed to one side of the next activation or shrunk
    together. The experiment measures them again on half of the probe, with the weights as they are.
    """

    explains = frozenset({Kind.COMPLETE, Kind.CONE, Kind.DIMENSIONAL, Kind.NORM, Kind.CLUSTER, Kind.NON_FINITE})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Compare the inputs of each BatchNorm with its running statistics."""
        for layer, module in scene.steps(_BatchNorm):
            gap = far_off(layer, module)
            if gap is None or _spoilt(scene, layer):
                continue
            tracked = getattr(module, "num_batches_tracked", None)
            never = tracked is not None and int(tracked) == 0
            if never and scene.untrained:
                continue  # nothing of this model was ever updated
            yield Suspicion(
                layer=layer.site.layer,
                depth=layer.depth,
                evidence=(
                    f"{layer.site.layer} expects another input than it gets: the mean is off by {gap[0]:.1f} running "
                    f"deviations, the deviation by a factor of {gap[1]:.3g}"
                    + ("; its statistics were never updated" if never else "")
                ),
                size=1.0,
                numbers={"mean_gap": gap[0], "deviation_ratio": gap[1]},
            )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Measure the running statistics anew; as a sham, those of the layers that are not suspected."""
        every = [layer.site.layer for layer, _ in scene.steps(_BatchNorm)]
        far = {one.layer for one in self.suspect(scene)} | {suspicion.layer}
        # What comes after a stale layer gets other inputs than it was made for: all behind it are measured again.
        first = every.index(suspicion.layer)
        stale, sound = every[first:], [name for name in every[:first] if name not in far]
        yield Intervention(
            probe=recalibrated(scene.find, stale).on_items(scene.confirm),
            change=f"the running statistics of {_listed(stale)} measured anew on {scene.find.items} items",
            control=recalibrated(scene.find, sound).on_items(scene.confirm) if sound else None,
            sham=f"measuring those of {_listed(sound)} anew" if sound else "",
            uncontrolled="" if sound else "no BatchNorm before it could serve as a sham",
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Measure again; or normalise without running statistics."""
        return (
            Remedy(
                id="recompute-batchnorm",
                title="Measure the running statistics again on training data, with the weights as they are",
                snippet=(
                    "for module in model.modules():\n"
                    "    if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):\n"
                    "        module.reset_running_stats()\n"
                    "        module.momentum = None  # cumulative mean\n"
                    "        module.train()\n"
                    "with torch.no_grad():\n"
                    "    for images, *_ in loader:\n"
                    "        model(images)\n"
                    "model.eval()"
                ),
                effect="needs a few hundred items of the training data, prepared as in training",
                reference="Ioffe & Szegedy 2015, arXiv:1502.03167",
            ),
            Remedy(
                id="groupnorm",
                title="For small or uneven batches, train with GroupNorm, which has no running statistics",
                snippet=f"torch.nn.GroupNorm(num_groups=8, num_channels={_width(scene, suspicion.layer)})",
                effect="must be trained; not a change of a finished model",
                reference="Wu & He 2018, arXiv:1803.08494",
            ),
        )


def recalibrated(probe: Probe, layers: Sequence[str]) -> Probe:
    """The probe with BatchNorms measured anew on its own items."""
    modules = dict(probe.module.named_modules())
    fresh: dict[str, nn.Module] = {}
    for name in layers:
        new = copy.deepcopy(modules[name])
        if isinstance(new, _BatchNorm):
            new.reset_running_stats()
            new.momentum = None  # the plain mean over all batches
        fresh[name] = new.train()
    changed = probe.with_modules(fresh)
    _ = changed.embeddings
    for new in fresh.values():
        new.eval()
    return changed.on(changed.module)


def far_off(layer: Layer, module: nn.Module) -> tuple[float, float] | None:
    """How far a BatchNorm's inputs are from its running statistics (mean, deviation); None where that is usual."""
    gap = _gap(layer, module)
    usual = gap is None or (abs(gap[0]) <= FAR_MEAN and 1 / FAR_DEVIATION <= gap[1] <= FAR_DEVIATION)
    return None if usual else gap


def at_defaults(module: nn.Module) -> bool:
    """Whether a BatchNorm has the running statistics that it was made with: mean 0 and variance 1."""
    mean, variance = getattr(module, "running_mean", None), getattr(module, "running_var", None)
    return mean is not None and variance is not None and not mean.any() and bool((variance == 1).all())


def scale_expected(scene: Scene, factors: Sequence[float]) -> float | None:
    """The one of these factors by which all inputs would have to be multiplied to fit the first BatchNorm, or None.

    Inputs that are scaled otherwise than in training are off by the same factor in every unit, and their means fit with
    it too; stale statistics are off by another one in each.
    """
    layer, module = next(iter(scene.steps(_BatchNorm)), (None, None))
    if layer is None or layer.before is None or module is None or at_defaults(module) or not far_off(layer, module):
        return None
    units, values = layer.before.units, layer.before.values
    variance, mean = (getattr(module, name).double().cpu().numpy()[units] for name in ("running_var", "running_mean"))
    deviation, wanted = values.std((0, 2)), np.sqrt(np.maximum(variance, 0))
    alive = (deviation > 0) & (wanted > 0)
    if alive.sum() < max(4, len(units) / 2):
        return None
    logs = np.log(wanted[alive] / deviation[alive])
    middle = float(np.median(logs))
    factor = min(factors, key=lambda one: abs(math.log(one) - middle))
    added = _bias_in_front(scene, layer)
    off = np.abs(factor * (values.mean((0, 2)) - added) - (mean - added))[alive] / wanted[alive]
    fits = abs(math.log(factor) - middle) < SAME and float(np.median(np.abs(logs - middle))) < ALIKE
    return factor if fits and float(np.median(off)) < SAME_MEAN else None


def _bias_in_front(scene: Scene, layer: Layer) -> NDArray[np.float64]:
    """What the layer right in front adds to the sampled units, whatever the scale of the inputs is."""
    units = layer.before.units if layer.before is not None else np.zeros(0, np.intp)
    for name, front in scene.biases.items():
        if front.depth == layer.depth - 1 and front.units == layer.units:
            bias: NDArray[np.float64] = scene.module.get_parameter(name).detach().double().cpu().numpy()[units]
            return bias
    return np.zeros(len(units))


def _spoilt(scene: Scene, layer: Layer) -> bool:
    """Whether the layer in front is at fault: then the statistics are right, and what it gives is not."""
    alike = any(weight.alike for weight in scene.weights if weight.layer.depth == layer.depth - 1)
    return alike or shifted_in_front(scene, layer) is not None


def shifted_in_front(scene: Scene, layer: Layer) -> Layer | None:
    """The layer right in front of a BatchNorm if its bias is why the inputs are off: without it they would fit."""
    module = scene.module.get_submodule(layer.site.layer)
    if layer.before is None or not isinstance(module, _BatchNorm) or module.running_mean is None:
        return None
    for name, front in scene.biases.items():
        if front.depth != layer.depth - 1 or front.units != layer.units or far_off(layer, module) is None:
            continue
        bias = scene.module.get_parameter(name).detach().double().cpu().numpy()
        units = layer.before.units
        shifted = replace(layer.before, values=layer.before.values - bias[units][:, None])
        if far_off(replace(layer, before=shifted), module) is None:
            return front
    return None


def _gap(layer: Layer, module: nn.Module) -> tuple[float, float] | None:
    """Median over sampled units of (mean now − running mean) / running deviation, and of the deviations' ratio."""
    running_mean, running_var = getattr(module, "running_mean", None), getattr(module, "running_var", None)
    if layer.before is None or running_mean is None or running_var is None or not layer.before.finite:
        return None
    units = layer.before.units
    if len(units) and units[-1] >= len(running_mean):
        return None
    mean = running_mean.double().cpu().numpy()[units]
    deviation = np.sqrt(np.maximum(running_var.double().cpu().numpy()[units], 0) + getattr(module, "eps", 0.0))
    values = layer.before.values
    off = np.abs(values.mean((0, 2)) - mean) / np.maximum(deviation, 1e-30)
    ratio = values.std((0, 2)) / np.maximum(deviation, 1e-30)
    middle = float(np.median(off)), float(np.median(ratio))
    return middle if all(map(math.isfinite, middle)) else None


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} layers from {names[0]} on" if names else ""


def _width(scene: Scene, layer: str) -> int:
    return int(getattr(scene.module.get_submodule(layer), "num_features", 0))
