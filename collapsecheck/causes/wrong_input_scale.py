"""Cause `wrong-input-scale`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.scene import Scene

# Deviations of inputs that models are trained on: pixels in 0..1 have 0.1 to 0.4, standardised ones 1.
SMALL, LARGE = 0.03, 30.0
# An offset of this many deviations hides what differs.
FAR = 30.0


class WrongInputScale(Cause):
    """The inputs are scaled otherwise than in training: divided by 255 twice, or not at all.

    With inputs near 0 only the biases are left, which are the same for all items; far too large ones saturate, or
    overflow. The experiment scales the inputs; the sham scales them by as much the other way.
    """

    explains = frozenset({Kind.COMPLETE, Kind.CONE, Kind.NORM, Kind.CLUSTER, Kind.DIMENSIONAL, Kind.NON_FINITE})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Look at the size of the inputs."""
        if not scene.probe.takes_tensors:
            return
        inputs = torch.cat([batch.inputs.flatten(1).double() for batch in scene.find.batches])
        mean, deviation = float(inputs.mean()), float(inputs.std())
        if not math.isfinite(deviation) or deviation == 0:
            return
        if deviation < SMALL:
            evidence = (
                f"the inputs hardly differ from each other and within: deviation {deviation:.1e}, mean {mean:.1e}"
            )
        elif deviation > LARGE:
            evidence = f"the inputs are large: deviation {deviation:.3g}, mean {mean:.3g}"
        elif abs(mean) > FAR * deviation:
            evidence = f"the inputs have an offset of {abs(mean) / deviation:.0f} deviations (mean {mean:.3g})"
        else:
            return
        yield Suspicion(layer="input", depth=-1.0, evidence=evidence, size=0.1,
                        numbers={"mean": mean, "deviation": deviation})  # fmt: skip

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Try the scales that preparation errors lead to, the one that gives usual sizes first."""
        mean, deviation = float(suspicion.numbers["mean"]), float(suspicion.numbers["deviation"])
        factors = sorted((255.0, 1 / 255, 65025.0, 127.5), key=lambda factor: abs(math.log(deviation * factor / 0.3)))

        def times(factor: float) -> Callable[[Tensor], Tensor]:
            return lambda inputs: inputs * factor

        for factor in factors[:2]:
            if not 0.01 < deviation * factor < 10:
                continue
            yield Intervention(
                probe=scene.confirm.fed(times(factor)),
                change=f"the inputs multiplied by {factor:.4g}",
                control=scene.confirm.fed(times(1 / factor)),
                sham=f"dividing them by {factor:.4g}",
            )
        yield Intervention(
            probe=scene.confirm.fed(lambda inputs: (inputs - mean) / deviation),
            change="the inputs brought to mean 0 and deviation 1",
            control=scene.confirm.fed(lambda inputs: inputs * min(deviation, 1 / deviation)),
            sham="shrinking them further",
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Prepare the data as in training."""
        return (
            Remedy(
                id="prepare-as-in-training",
                title="Prepare the data exactly as in training: one division by 255, then that mean and deviation",
                snippet=(
                    "from torchvision.transforms import v2\n"
                    "transform = v2.Compose([\n"
                    "    v2.ToImage(),\n"
                    "    v2.ToDtype(torch.float32, scale=True),  # divides by 255, once\n"
                    "    v2.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),\n"
                    "])"
                ),
                effect="use the mean and deviation of your own training; scan again with --input-scale, --mean, --std",
            ),
        )
