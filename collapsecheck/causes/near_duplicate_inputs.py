"""Cause `near-duplicate-inputs`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.causes.repeated_inputs import different
from collapsecheck.checks import Kind
from collapsecheck.scene import Scene

# Deviation between items over that within all of them: unrelated pictures have 0.5 and more, video frames 0.05.
ALIKE = 0.15
# Embeddings that keep this share of it are as far apart as their items are.
KEPT = 0.2


class NearDuplicateInputs(Cause):
    """The items are much alike before they reach the model, which keeps what little tells them apart.

    Frames of one video, crops of one picture, a fixed background. The embeddings are as close as their items: that says
    nothing against the model. The experiment feeds as many unlike items; the sham feeds the same in another order.
    """

    explains = frozenset({Kind.COMPLETE, Kind.CONE, Kind.CLUSTER, Kind.DIMENSIONAL})
    expected = True

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Measure how far items differ, beside how far the numbers within them do."""
        if not scene.probe.takes_tensors:
            return
        inputs = torch.cat([batch.inputs.flatten(1).double() for batch in scene.find.batches])
        whole = float(inputs.std())
        between = float((inputs - inputs.mean(0)).square().mean().sqrt())
        spread = scene.seen.measure("unit_spread").value
        if not whole > 0 or not 0 < between / whole < ALIKE or spread < KEPT * between / whole:
            return
        yield Suspicion(
            layer="input",
            depth=-1.0,
            evidence=(
                f"the inputs differ from each other by {between / whole:.1%} of what their numbers differ within, and "
                f"the embeddings by {spread:.1%} of their length"
            ),
            size=0.5,
            numbers={"between": between, "whole": whole},
        )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Feed items that differ."""
        random = torch.Generator().manual_seed(scene.probe.seed)

        yield Intervention(
            probe=scene.confirm.fed(lambda inputs: different(inputs, random)),
            change="as many unlike items fed, noise with the mean and deviation of the inputs",
            control=scene.confirm.fed(lambda inputs: inputs.flip(0)),
            sham="feeding the same items in another order",
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Scan on items that differ."""
        return (
            Remedy(
                id="unlike-items",
                title="Scan again on items as different as those that the model will be used on",
                effect="nothing is wrong with the model so far",
            ),
        )
