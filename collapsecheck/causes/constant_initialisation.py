"""Cause `constant-initialisation`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.observe.probe import renewed, weight_of
from collapsecheck.scene import Scene

# Deviation between the rows of a weight over its size: independent rows have 1, rows that training moved apart 0.1.
ALIKE = 1e-3


class ConstantInitialisation(Cause):
    """All units of a layer have the same weights, so that they compute the same number.

    Started alike they get the same gradient and stay alike: a layer of any width is as good as one of width 1. The
    experiment initialises these layers at random; the sham does so with as many others.
    """

    explains = frozenset({Kind.DIMENSIONAL, Kind.COMPLETE, Kind.CONE, Kind.CLUSTER, Kind.NORM})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Compare the rows of each weight."""
        found = _alike(scene)
        if not found:
            return
        first = min(found, key=lambda name: found[name])
        zero = not weight_of(scene.module.get_submodule(first)).any()
        yield Suspicion(
            layer=first,
            depth=found[first],
            evidence=(
                f"{first}: all weights are zero"
                if zero
                else f"in {len(found)} layer{'s' * (len(found) > 1)}, first in {first}, all units have the same weights"
            ),
            known=True,
            numbers={"layers": len(found)},
        )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Initialise them at random; as a sham, as many of the others."""
        alike = _alike(scene)
        others = [
            layer for layer, _ in scene.steps(nn.Linear, nn.modules.conv._ConvNd) if layer.site.layer not in alike
        ]
        chosen = sorted(others, key=lambda layer: abs(layer.depth - suspicion.depth))[: len(alike)]
        names = [layer.site.layer for layer in chosen]
        yield Intervention(
            probe=scene.confirm.with_modules(_new(scene, alike)),
            change=f"{', '.join(list(alike)[:3])}{' and others' if len(alike) > 3 else ''} initialised at random",
            control=scene.confirm.with_modules(_new(scene, names)) if names else None,
            sham=f"initialising {', '.join(names[:3])} anew" if names else "",
            uncontrolled="" if names else "all layers are alike, none can serve as a sham",
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Random initialisation."""
        return (
            Remedy(
                id="random-initialisation",
                title="Initialise at random (He for rectifiers, Xavier otherwise), and train again",
                snippet=(
                    f"layer = model.get_submodule({suspicion.layer!r})\n"
                    "torch.nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')  # or xavier_uniform_\n"
                    "if layer.bias is not None:\n"
                    "    torch.nn.init.zeros_(layer.bias)"
                ),
                effect="what was learned in these layers is lost, which is little",
                reference="Glorot & Bengio 2010; He et al. 2015, arXiv:1502.01852",
            ),
        )


def _alike(scene: Scene) -> dict[str, float]:
    """Depths of the layers on the path whose units all have the same weights."""
    found = {}
    for layer, module in scene.steps(nn.Linear, nn.modules.conv._ConvNd):
        rows = _rows(module)
        if len(rows) > 1:
            size = rows.square().mean().sqrt()
            apart = (rows - rows.mean(0)).square().mean().sqrt()
            if bool(torch.isfinite(size)) and bool(apart <= ALIKE * size):
                found[layer.site.layer] = float(layer.depth)
    return found


def _rows(module: nn.Module) -> Tensor:
    weight = weight_of(module).double()
    return weight.flatten(1) if weight.ndim > 1 else weight[:, None]


def _new(scene: Scene, names: Sequence[str] | dict[str, float]) -> dict[str, nn.Module]:
    made = {name: renewed(scene.module.get_submodule(name), seed) for seed, name in enumerate(names)}
    return {name: module for name, module in made.items() if module is not None}
