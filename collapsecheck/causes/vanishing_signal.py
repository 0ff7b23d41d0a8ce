"""Cause `vanishing-signal`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.causes.stale_batchnorm import at_defaults
from collapsecheck.checks import Kind
from collapsecheck.observe.probe import Probe
from collapsecheck.observe.weights import Weight
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
        small = too_small(scene)
        if not small:
            return
        first = small[0]
        yield Suspicion(
            layer=first.layer.site.layer,
            depth=first.layer.depth,
            evidence=(
                f"{len(small)} of {len(scene.weights)} weights are too small to pass on what they get: {first} "
                f"by a factor of {1 / (math.sqrt(3) * first.size):.2g} against torch's initialisation"
            ),
            size=0.5 * len(small),
            numbers={str(weight): weight.size for weight in small},
        )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Scale the weights; as a sham, those of a layer of usual size."""
        small = too_small(scene)
        usual = [weight for weight in scene.weights if weight.size >= SMALL][-1:]
        names = ", ".join(map(str, small[:3])) + " and others" * (len(small) > 3)
        yield Intervention(
            probe=scaled(scene.confirm, small),
            change=f"{names} scaled to the size of torch's initialisation",
            control=scaled(scene.confirm, usual) if usual else None,
            sham=f"scaling {usual[0]} to that size" if usual else "",
            uncontrolled="" if usual else "all layers are too small, none can serve as a sham",
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


def too_small(scene: Scene) -> list[Weight]:
    """The weights on the path that are far smaller than any initialiser makes them, but not zero.

    In front of a BatchNorm the size of a weight does not matter, once that has statistics: where it never got any, that
    is what is wrong.
    """
    unset = {layer.depth - 1 for layer, module in scene.steps(_BatchNorm) if at_defaults(module)}
    small = [weight for weight in scene.weights if 0 < weight.size < SMALL and not weight.alike]
    return [weight for weight in small if weight.layer.depth not in unset]


def scaled(probe: Probe, weights: Sequence[Weight]) -> Probe:
    """The probe with some weights at the size that torch gives them."""
    tensors: dict[str, Tensor] = {}
    for weight in weights:
        given = replace(weight, tensor=tensors.get(weight.name, weight.tensor))
        tensors |= given.usual()
    return probe.with_tensors(tensors)
