"""Cause `zeroed-normalisation-scale`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.observe.probe import weight_of
from collapsecheck.scene import Scene

SMALL = 1e-3
MANY = 0.8
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


class ZeroedNormalisationScale(Cause):
    """The scales (gamma) of a normalisation layer are next to zero, so that only its shift is left.

    Weight decay on normalisation layers, or a start at zero that was never trained. Zero scales at the end of a
    residual branch are usual and harmless: they count only where most of a layer's scales are gone and the symptom
    goes with setting them to 1. The sham sets those of another layer to 1.
    """

    explains = frozenset({Kind.COMPLETE, Kind.CONE, Kind.NORM, Kind.DIMENSIONAL})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Count small scales."""
        for layer, module in scene.steps(*_NORMS):
            scale = getattr(module, "weight", None)
            if scale is None:
                continue
            share = float((scale.detach().abs() < SMALL).double().mean())
            if share >= MANY:
                yield Suspicion(
                    layer=layer.site.layer,
                    depth=layer.depth,
                    evidence=f"{share:.0%} of the scales of {layer.site.layer} are below {SMALL}",
                    numbers={"share": share},
                )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Set them to 1; as a sham, those of another layer."""
        layer = next(one for one in scene.path if one.site.layer == suspicion.layer)
        other = scene.innocent(layer, *_NORMS)
        suspected = {one.layer for one in self.suspect(scene)}
        usable = other is not None and other[0].site.layer not in suspected and other[1].weight is not None
        yield Intervention(
            probe=scene.confirm.with_tensors({f"{suspicion.layer}.weight": _ones(scene, suspicion.layer)}),
            change=f"the scales of {suspicion.layer} set to 1",
            control=scene.confirm.with_tensors({f"{other[0].site.layer}.weight": _ones(scene, other[0].site.layer)})
            if usable and other is not None
            else None,
            sham=f"setting those of {other[0].site.layer} to 1" if usable and other is not None else "",
            uncontrolled="" if usable else "there is no other normalisation layer with its scales in order",
        )
        if len(suspected) > 1:
            yield Intervention(
                probe=scene.confirm.with_tensors({f"{name}.weight": _ones(scene, name) for name in suspected}),
                change=f"the scales of {len(suspected)} normalisation layers set to 1",
                uncontrolled="there is no other normalisation layer with its scales in order",
            )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """No decay on scales and biases."""
        return (
            Remedy(
                id="no-decay-on-norms",
                title="Exempt normalisation layers and biases from weight decay, set the scales to 1, and train on",
                snippet=(
                    "decayed = [p for p in model.parameters() if p.ndim > 1]\n"
                    "exempt = [p for p in model.parameters() if p.ndim <= 1]\n"
                    "optimizer = torch.optim.AdamW([\n"
                    "    {'params': decayed, 'weight_decay': 0.05},\n"
                    "    {'params': exempt, 'weight_decay': 0.0},\n"
                    "], lr=1e-4)\n"
                    f"torch.nn.init.ones_(model.get_submodule({suspicion.layer!r}).weight)"
                ),
            ),
        )


def _ones(scene: Scene, layer: str) -> torch.Tensor:
    return torch.ones_like(weight_of(scene.module.get_submodule(layer)))
