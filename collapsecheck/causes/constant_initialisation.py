"""Cause `constant-initialisation`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch.nn.modules.batchnorm import _BatchNorm

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.causes.stale_batchnorm import far_off
from collapsecheck.checks import Kind
from collapsecheck.observe.probe import redrawn
from collapsecheck.observe.weights import Weight
from collapsecheck.scene import Scene

# Share of the weights of a net that no training leaves alike by design, as it does zeros at the end of branches.
MANY = 0.6


class ConstantInitialisation(Cause):
    """All units of a layer have the same weights, so that they compute the same number.

    Started alike they get the same gradient and stay alike: a layer of any width is as good as one of width 1. The
    experiment initialises these layers at random; the sham does so with as many others.
    """

    explains = frozenset({Kind.DIMENSIONAL, Kind.COMPLETE, Kind.CONE, Kind.CLUSTER, Kind.NORM})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Compare the rows of each weight."""
        alike = _alike(scene)
        if not alike:
            return
        first, layers = alike[0], {weight.layer.site for weight in alike}
        known = len(alike) > MANY * len(scene.weights) or _remembered(scene, first)
        behind = frozenset(layer.site.layer for layer in scene.path if layer.depth >= first.layer.depth)
        yield Suspicion(
            layer=first.layer.site.layer,
            depth=first.layer.depth,
            evidence=(
                f"all weights of {first} are zero"
                if not first.rows.any()
                else f"in {len(layers)} layer{'s' * (len(layers) > 1)}, {first} the first, all units have equal weights"
            ),
            known=known,
            roots=behind if known else frozenset(),  # a single number is all that comes behind it
            numbers={"layers": len(layers)},
        )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Initialise them at random; as a sham, as many of the others."""
        alike = _alike(scene)
        names = {weight.name for weight in alike}
        others = [weight for weight in scene.weights if weight.name not in names]
        chosen = sorted(others, key=lambda weight: abs(weight.layer.depth - suspicion.depth))[: len(alike)]
        yield Intervention(
            probe=redrawn(scene.confirm, alike),
            change=f"{_listed(alike)} initialised at random",
            control=redrawn(scene.confirm, chosen) if chosen else None,
            sham=f"initialising {_listed(chosen)} anew" if chosen else "",
            uncontrolled="" if chosen else "all layers are alike, none can serve as a sham",
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


def _alike(scene: Scene) -> list[Weight]:
    """The matrices on the path whose units all have the same weights, though they see the same."""
    return [weight for weight in scene.weights if weight.alike]


def _remembered(scene: Scene, weight: Weight) -> bool:
    """Whether the BatchNorm behind remembers what other weights gave."""
    behind = [(layer, norm) for layer, norm in scene.steps(_BatchNorm) if layer.depth == weight.layer.depth + 1]
    return any(far_off(layer, norm) is not None for layer, norm in behind)


def _listed(weights: Sequence[Weight]) -> str:
    return ", ".join(map(str, weights[:3])) + " and others" * (len(weights) > 3)
