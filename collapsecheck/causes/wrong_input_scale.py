"""Cause `wrong-input-scale`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.causes.stale_batchnorm import at_defaults, scale_expected
from collapsecheck.checks import Kind
from collapsecheck.scene import Scene

# Deviations of inputs that models are trained on: pixels in 0..1 have 0.1 to 0.4, standardised ones 1.
SMALL, LARGE = 0.03, 30.0
# An offset of this many deviations may hide what differs; white paper with some ink has 2 to 5.
FAR = 6.0
# What a division by 255 too few or too many comes to, and two of them.
FACTORS = (255.0, 1 / 255)
TWICE = 65025.0


class WrongInputScale(Cause):
    """The inputs are scaled otherwise than in training: divided by 255 twice, or not at all.

    With inputs near 0 only the biases are left, which are the same for all items; far too large ones saturate, or
    overflow; far from zero they all look alike. The experiment scales the inputs, or moves them to zero; the sham does
    as much the other way.
    """

    explains = frozenset({Kind.COMPLETE, Kind.CONE, Kind.NORM, Kind.CLUSTER, Kind.DIMENSIONAL, Kind.NON_FINITE})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Look at the size of the inputs, and at how far they are from zero."""
        if not scene.probe.takes_tensors or _never_updated(scene):
            return
        mean, deviation = _units_of(scene)
        middle, size = float(mean.mean()), float(deviation.square().mean().sqrt())
        if not math.isfinite(size) or not math.isfinite(middle) or size == 0:
            return
        numbers = {"deviation": size}
        offset = float((mean.square().mean() / deviation.square().mean()).sqrt())
        if size < SMALL:
            evidence = f"the inputs hardly differ from each other and within: deviation {size:.1e}, mean {middle:.1e}"
        elif size > LARGE:
            evidence = f"the inputs are large: deviation {size:.3g}, mean {middle:.3g}"
        elif offset > FAR:
            evidence = f"the inputs have an offset of {offset:.0f} deviations (mean {middle:.3g})"
        elif (factor := scale_expected(scene, FACTORS)) is not None:
            evidence = (
                f"the first BatchNorm has learned from inputs {factor:.3g} times as large, and so in all its units"
            )
            numbers["factor"] = factor
        else:
            return
        yield Suspicion(layer="input", depth=-1.0, evidence=evidence, size=0.1, numbers=numbers)

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Try the scales that preparation errors lead to, the one that gives usual sizes first."""
        mean, _ = _units_of(scene)
        size = float(suspicion.numbers["deviation"])
        expected = suspicion.numbers.get("factor")
        factors = sorted((*FACTORS, TWICE, 127.5), key=lambda factor: abs(math.log(size * factor / 0.3)))

        def times(factor: float) -> Callable[[Tensor], Tensor]:
            return lambda inputs: inputs * factor

        def shifted(share: float, scale: float = 1.0) -> Callable[[Tensor], Tensor]:
            return lambda inputs: ((inputs - share * _shaped(mean, inputs)) * scale).to(inputs.dtype)

        for factor in [expected] if expected else [one for one in factors[:2] if 0.01 < size * one < 10]:
            yield Intervention(
                probe=scene.confirm.fed(times(factor)),
                change=f"the inputs multiplied by {factor:.4g}",
                control=scene.confirm.fed(times(1 / factor)),
                sham=f"dividing them by {factor:.4g}",
            )
        if expected:
            return
        yield Intervention(
            probe=scene.confirm.fed(shifted(1.0, 1 / size)),
            change="the inputs brought to mean 0 and deviation 1",
            control=scene.confirm.fed(shifted(-1.0, min(size, 1 / size))),
            sham="moving and scaling them by as much the other way",
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


def _units_of(scene: Scene) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the inputs of half of the probe: of every channel of pictures, of every column of rows."""
    parts = [_by_unit(batch.inputs.double()) for batch in scene.find.batches]
    if len({part.shape[1] for part in parts}) > 1:
        whole = torch.cat([part.flatten() for part in parts])[:, None]
        return whole.mean(0), whole.std(0)
    rows = torch.cat(parts)
    return rows.mean(0), rows.std(0)


def _by_unit(inputs: Tensor) -> Tensor:
    """[n·positions, units]."""
    return (inputs.movedim(1, -1) if inputs.ndim > 3 else inputs).flatten(0, -2) if inputs.ndim > 1 else inputs[:, None]


def _shaped(mean: Tensor, inputs: Tensor) -> Tensor:
    """The means of the units, to be subtracted from inputs."""
    if inputs.ndim > 3 and len(mean) == inputs.shape[1]:
        return mean.reshape(-1, *[1] * (inputs.ndim - 2))
    return mean


def _never_updated(scene: Scene) -> bool:
    """Whether a BatchNorm has the statistics it was made with, so that no scale of the inputs was ever learned."""
    return any(at_defaults(module) for _, module in scene.steps(_BatchNorm))
