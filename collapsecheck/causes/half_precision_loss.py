"""Cause `half-precision-loss`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.scene import Scene

_NAMES = {"float16": "float16, which ends at 65504", "bfloat16": "bfloat16, which keeps two to three digits"}


class HalfPrecisionLoss(Cause):
    """What the model computes does not fit into half precision: it overflows, or differences are rounded away.

    float16 ends at 65504 and loses what is below 6e-8; bfloat16 keeps 8 bits, so that numbers that differ by less than
    0.4 % become equal. The experiment runs the same weights in float32; where that does not help, the precision is not
    to blame.
    """

    explains = frozenset(Kind)

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """See whether half precision is used at all."""
        used = scene.probe.rows_dtype
        if used not in _NAMES:
            return
        onset = scene.onset
        yield Suspicion(
            layer=onset.layer if onset is not None else "",
            depth=-0.25,  # it concerns all layers
            evidence=f"the model runs in {_NAMES[used]}" + (f"; it begins at {onset.step}" if onset else ""),
            size=0.1,
        )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Run in float32."""
        yield Intervention(
            probe=scene.confirm.in_full_precision(),
            change="the same weights run in float32",
            uncontrolled="nothing else was changed",
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Keep the sensitive part in float32."""
        layer = suspicion.layer or "the layer"
        return (
            Remedy(
                id="full-precision",
                title=f"Run {layer} in float32, or all of the model: autocast can be left for a part",
                snippet=(
                    "with torch.autocast('cpu', enabled=False):  # or 'cuda'\n    embeddings = model(batch.float())"
                ),
                effect="twice the memory of what runs in float32; --precision fp32 here",
            ),
            Remedy(
                id="bfloat16",
                title="Against overflow: bfloat16, which has the range of float32; normalise what grows",
                snippet="with torch.autocast('cpu', dtype=torch.bfloat16):\n    embeddings = model(batch)",
                effect="fewer digits than float16",
            ),
        )
