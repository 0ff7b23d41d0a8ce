"""Cause `vanishing-signal`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.observe.probe import weight_of
from collapsecheck.scene import Scene

# Root mean square of a weight times √fan-in: 0.58 as torch initialises, 1.4 after He; trained ones 0.2 to 3.
SMALL = 0.03


class VanishingSignal(Cause):
    """Weights so small that the signal fades: what differs between items falls below the biases, or below rounding.

    The experiment scales these weights, and not the biases, to the size of torch's own initialisation; the sham does
    so with a layer of usual weights.
    """

    explains = frozenset({Kind.COMPLETE, Kind.NORM, Kind.CONE, Kind.CLUSTER})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Compare the size of each weight with that of its initialiser."""
        sizes = _sizes(scene)
        small = {name: size for name, size in sizes.items() if 0 < size < SMALL}
        if not small:
            return
        depths = {layer.site.layer: layer.depth for layer in scene.path}
        first = min(small, key=lambda name: depths[name])
        yield Suspicion(
            layer=first,
            depth=depths[first],
            evidence=(
                f"{len(small)} of {len(sizes)} layers with weights are too small to pass on what they get: {first} "
                f"by a factor of {1 / (math.sqrt(3) * small[first]):.2g} against torch's initialisation"
            ),
            size=0.5 * len(small),
            numbers=small,
        )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Scale the weights; as a sham, those of a layer of usual size."""
        sizes = _sizes(scene)
        factors = {name: 1 / (math.sqrt(3) * sizes[name]) for name in suspicion.numbers}
        usual = [name for name, size in sizes.items() if size >= SMALL]
        changed = {f"{name}.weight": _weight(scene, name) * factor for name, factor in factors.items()}
        sham = {f"{name}.weight": _weight(scene, name) / (math.sqrt(3) * sizes[name]) for name in usual[-1:]}
        yield Intervention(
            probe=scene.confirm.with_tensors(changed),
            change=f"the weights of {', '.join(list(factors)[:3])} scaled to the size of torch's initialisation",
            control=scene.confirm.with_tensors(sham) if sham else None,
            sham=f"scaling those of {usual[-1]} to that size" if sham else "",
            uncontrolled="" if sham else "all layers are too small, none can serve as a sham",
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """He initialisation, less decay."""
        return (
            Remedy(
                id="he-initialisation",
                title="Initialise so that each layer passes on the size of what it gets (He, or LSUV), and train again",
                snippet=(
                    f"layer = model.get_submodule({suspicion.layer!r})\n"
                    "torch.nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')"
                ),
                reference="He et al. 2015, arXiv:1502.01852; Mishkin & Matas 2016, arXiv:1511.06422",
            ),
            Remedy(
                id="less-weight-decay",
                title="If training made them small: less weight decay (L2), none on norms and biases",
                snippet="optimizer = torch.optim.AdamW(\n    model.parameters(), lr=1e-4, weight_decay=1e-2)",
            ),
        )


def _sizes(scene: Scene) -> dict[str, float]:
    """Root mean square of each weight on the path times √fan-in."""
    found = {}
    for layer, module in scene.steps(nn.Linear, nn.modules.conv._ConvNd):
        weight = weight_of(module)
        fan_in = weight[0].numel()
        found[layer.site.layer] = float(weight.double().square().mean().sqrt()) * math.sqrt(fan_in)
    return found


def _weight(scene: Scene, layer: str) -> torch.Tensor:
    return weight_of(scene.module.get_submodule(layer))
