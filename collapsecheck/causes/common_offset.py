"""Cause `common-offset`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.observe import NotObservable
from collapsecheck.scene import Scene

# Spread of the unit rows below which the offset is what cosine sees.
SMALL_SPREAD = 0.5
# Roundings of the numbers in which the rows are given: what is less than this many is noise.
ROUNDINGS = 30.0
# A step that leaves less than the reciprocal of this of the spread it gets may have added the offset.
SUDDEN = 3.0


class CommonOffset(Cause):
    """All embeddings share one large vector, beside which their differences hardly count.

    Cosine compares directions from the origin; a common offset turns all of them the same way, while the differences,
    seen from the mean, are intact. Usual for features of one sign and for language models (Mu & Viswanath 2018). The
    experiment subtracts the mean of half of the items from the other half; the sham subtracts a vector of the same
    length that points elsewhere.
    """

    explains = frozenset({Kind.CONE, Kind.COMPLETE})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Compare the mean with what is around it, and ask whether that is more than rounding."""
        try:
            spread = scene.seen.measure("unit_spread").value
            rank = scene.seen.measure("unit_effective_rank").value
        except NotObservable:
            return
        if spread >= SMALL_SPREAD or spread < ROUNDINGS * scene.seen.rounding_floor or rank < 2:
            return
        yield Suspicion(
            layer=next((_layer(name) for name, _ in _heavy(scene)), _seen_at(scene)),
            depth=1e9,  # at the very end: whatever else explains the symptom comes before
            evidence=(
                f"the common part of the embeddings is {math.sqrt(1 - spread**2) / spread:.0f} times as long as what "
                f"differs, and around it {rank:.1f} dimensions are left"
            ),
            size=0.2,
            numbers={"spread": spread, "rank": rank},
        )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Subtract the mean; as a sham, a vector of its length elsewhere."""
        for name, other in _heavy(scene):
            yield Intervention(
                probe=scene.confirm.with_tensors({name: _zeros(scene, name)}),
                change=f"{name} set to zero",
                control=scene.confirm.with_tensors({other: _zeros(scene, other)}) if other else None,
                sham=f"setting {other} to zero" if other else "",
                uncontrolled="" if other else "no other layer has a bias",
            )
        mean = scene.find.embeddings.mean(0)
        random = np.random.default_rng(scene.probe.seed).standard_normal(len(mean))
        random -= (random @ mean) / max(mean @ mean, 1e-300) * mean
        elsewhere = random * (np.linalg.norm(mean) / (np.linalg.norm(random) + 1e-300))

        yield Intervention(
            probe=scene.confirm.turned(lambda rows: rows - mean),
            change=f"the mean of {scene.find.items} items subtracted from other items",
            control=scene.confirm.turned(lambda rows: rows - elsewhere) if len(mean) > 1 else None,
            sham="subtracting a vector of the same length that points elsewhere",
            treats=True,
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Centre before the cosine."""
        return (
            Remedy(
                id="centre",
                title="Subtract the mean of a reference set before taking cosines",
                snippet=(
                    "mean = embeddings.mean(dim=0)  # of many items, stored with the model\n"
                    "similarity = torch.nn.functional.cosine_similarity(\n"
                    "    embeddings[:1] - mean, embeddings - mean)"
                ),
                effect="no training; keep the mean with the index, and use it for queries too",
                reference="Mu & Viswanath 2018, arXiv:1702.01417",
            ),
            Remedy(
                id="normalise-last",
                title="Or end the encoder with BatchNorm or LayerNorm without scale and shift, and train on",
                snippet=f"norm = torch.nn.BatchNorm1d({scene.seen.dimension}, affine=False)",
                effect="the offset cannot come back",
            ),
        )


def _heavy(scene: Scene) -> Iterator[tuple[str, str]]:
    """Biases at whose step much of the spread is lost at once, the worst first, with another one for a sham."""
    falls = {}
    for name, layer in scene.biases.items():
        if layer.before is not None and layer.after.relative_spread > 0:
            falls[name] = layer.before.relative_spread / layer.after.relative_spread
    worst = sorted((name for name in falls if falls[name] > SUDDEN), key=lambda name: -falls[name])
    for name in worst[:2]:
        others = [other for other in falls if scene.biases[other].site != scene.biases[name].site]
        yield name, min(others, key=lambda other: falls[other], default="")


def _layer(name: str) -> str:
    return name.rpartition(".")[0].removesuffix(".out_proj")


def _seen_at(scene: Scene) -> str:
    return scene.onset.layer if scene.onset is not None else scene.path[-1].site.layer if scene.path else ""


def _zeros(scene: Scene, name: str) -> Tensor:
    return torch.zeros_like(scene.module.get_parameter(name).detach())
