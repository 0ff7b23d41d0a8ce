"""Cause `depth-without-normalisation`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from torch import nn

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.causes.vanishing_signal import too_small
from collapsecheck.checks import Kind
from collapsecheck.observe.probe import Probe
from collapsecheck.scene import Scene

# Layers with weights from which a plain net loses much of the spread at default initialisation.
DEEP = 5
_WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm)


class DepthWithoutNormalisation(Cause):
    """Many layers in a row, none of which is normalised: each pushes all items a little closer together.

    At torch's default initialisation a layer passes on a third of the variance and adds biases that are the same for
    all items: the cosine between any two of them goes to 1 with depth (Poole et al. 2016; Schoenholz et al. 2017).
    The experiment standardises the units behind every layer, as BatchNorm would; the sham does so behind one of them.
    """

    explains = frozenset({Kind.COMPLETE, Kind.CONE, Kind.NORM})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Count layers, and see whether the spread falls steadily."""
        weighted = [layer for layer, _ in scene.steps(*_WEIGHTED)]
        if len(weighted) < DEEP or any(True for _ in scene.steps(*_NORMS)) or too_small(scene):
            return
        falls = [
            layer.before.relative_spread / layer.after.relative_spread
            for layer in weighted
            if layer.before is not None and layer.after.relative_spread > 0 and layer.before.relative_spread > 0
        ]
        if len(falls) < DEEP or scene.onset is None or not scene.onset.gradual:
            return
        total = sum(math.log(max(fall, 1e-9)) for fall in falls)
        if total <= 0 or max(math.log(fall) for fall in falls) > 0.6 * total:
            return  # one layer is to blame, not their number
        if scene.kind is Kind.CONE and scene.untrained:
            return  # before training any such net is in a cone, which says nothing about its depth
        yield Suspicion(
            layer=weighted[0].site.layer,
            depth=weighted[0].depth,
            evidence=(
                f"{len(weighted)} layers in a row without normalisation: on average each leaves "
                f"{math.exp(-total / len(falls)):.0%} of the spread that it gets"
            ),
            size=2.0,
        )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Standardise behind all layers; as a sham, behind one."""
        names = list(dict.fromkeys(layer.site.layer for layer, _ in scene.steps(*_WEIGHTED)))
        yield Intervention(
            probe=normalised(scene.find, names).on_items(scene.confirm),
            change=f"the units behind each of the {len(names)} layers standardised, as BatchNorm would",
            control=normalised(scene.find, names[:1]).on_items(scene.confirm),
            sham=f"doing so behind {names[0]} alone",
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Normalise, add residual connections, initialise after He."""
        return (
            Remedy(
                id="batchnorm",
                title="Put BatchNorm (or LayerNorm, GroupNorm) behind each convolution or linear layer",
                snippet=(
                    "block = torch.nn.Sequential(\n"
                    "    torch.nn.Conv2d(64, 64, 3, padding=1, bias=False),\n"
                    "    torch.nn.BatchNorm2d(64),\n"
                    "    torch.nn.ReLU(),\n"
                    ")"
                ),
                effect="train again; batches of at least 16, or GroupNorm",
                reference="Ioffe & Szegedy 2015, arXiv:1502.03167",
            ),
            Remedy(
                id="he-initialisation",
                title="Or initialise for rectifiers (He), with biases at zero, or add residual connections",
                snippet=(
                    "for module in model.modules():\n"
                    "    if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):\n"
                    "        torch.nn.init.kaiming_normal_(module.weight, nonlinearity='relu')\n"
                    "        if module.bias is not None:\n"
                    "            torch.nn.init.zeros_(module.bias)"
                ),
                reference="He et al. 2015, arXiv:1502.01852",
            ),
        )


def normalised(probe: Probe, layers: Sequence[str]) -> Probe:
    """The probe with the units behind some layers standardised by the statistics of its own items."""
    from collapsecheck.causes.saturated_activation import standardised

    return standardised(probe, layers)
