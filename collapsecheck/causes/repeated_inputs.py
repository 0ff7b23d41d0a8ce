"""Cause `repeated-inputs`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.observe import NotObservable
from collapsecheck.scene import Scene

# Share of distinct items below which the data, not the model, are to be looked at.
FEW_DISTINCT = 0.5
# Inputs whose spread is this small are the same picture with noise.
TINY_SPREAD = 1e-3


class RepeatedInputs(Cause):
    """The items are (nearly) all the same before they reach the model.

    A wrong index, a closed-over loop variable, a cached file or one seed in every worker gives the same item again and
    again; no model can tell these apart. The experiment feeds as many different items of the same size; the sham feeds
    the same items in another order.
    """

    explains = frozenset({Kind.COMPLETE, Kind.CLUSTER, Kind.DIMENSIONAL, Kind.CONE})
    symptomless = True

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Count distinct inputs, and measure how far they spread."""
        try:
            distinct = scene.seen.measure("distinct_inputs").value
            spread = scene.seen.measure("input_relative_spread").value
        except NotObservable:
            return
        share = distinct / max(scene.seen.rows, 1)
        if share <= FEW_DISTINCT:
            evidence = f"only {distinct:.0f} of {scene.seen.rows} inputs differ from each other"
        elif spread <= TINY_SPREAD:
            evidence = f"the inputs differ by {spread:.1e} of their size only"
        else:
            return
        yield Suspicion(layer="input", depth=-1.0, evidence=evidence, known=True, size=0.5,
                        numbers={"distinct": distinct, "spread": spread})  # fmt: skip

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Feed different items; as a sham, the same in another order."""
        if not scene.probe.takes_tensors:
            return
        random = torch.Generator().manual_seed(scene.probe.seed)

        yield Intervention(
            probe=scene.confirm.fed(lambda inputs: different(inputs, random)),
            change="as many different items fed, noise with the mean and deviation of the inputs",
            control=scene.confirm.fed(lambda inputs: inputs.flip(0)),
            sham="feeding the same items in another order",
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Look at what the loader gives."""
        return (
            Remedy(
                id="look-at-the-batch",
                title="Look at what the loader gives, before the model: torch.unique counts what differs",
                snippet=(
                    "batch = next(iter(loader))\n"
                    "images = batch[0] if isinstance(batch, (list, tuple)) else batch\n"
                    "print(torch.unique(images.flatten(1), dim=0).shape[0], 'distinct of', len(images))"
                ),
                effect="then check the index in __getitem__, caching, and the random seed of each worker",
            ),
        )


def different(inputs: Tensor, random: torch.Generator) -> Tensor:
    """Noise with the shape, mean and deviation of the inputs."""
    noise = torch.randn(inputs.shape, generator=random, dtype=inputs.dtype)
    deviation = inputs.std() if inputs.std() > 1e-3 * inputs.abs().max() else inputs.abs().max().clamp(min=1e-3)
    return inputs.mean() + deviation * noise
