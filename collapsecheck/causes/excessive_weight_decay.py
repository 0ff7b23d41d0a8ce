"""Cause `excessive-weight-decay`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.causes.vanishing_signal import scaled, too_small
from collapsecheck.checks import Kind
from collapsecheck.observe.probe import Probe
from collapsecheck.observe.weights import Weight
from collapsecheck.scene import Scene

# Share of the weights on the path that must have shrunk: decay spares none, a poor initialisation may be that of one.
MOST = 0.8
# Of torch's initial size, the biases: what decayed is far below it, and not exactly zero.
SHRUNK = 0.05
# Settings from which weight decay (L2) can outweigh a loss; the usual ones are 1e-4 with SGD and 1e-2 with AdamW.
STRONG = 1e-3
# Size of a weight (0.58 as torch initialises, trained ones 0.2 to 3) that a decay of that strength explains.
LESS = 0.25

# Weights of which decay alone would have left more than this were made small by something else.
INNOCENT = 0.7
# Share of decay in the last step from which it holds the loss in balance; while a model learns it is below 0.1.
BALANCED = 0.4


class ExcessiveWeightDecay(Cause):
    """Weight decay outweighs the loss: the weights shrink towards zero, and with them the embeddings.

    Once the signal is small its gradient is small too, so that nothing stops the decay. All weights, and the biases
    where they decay as well, are far below any initialisation; a checkpoint that holds the optimiser tells its decay.
    The experiment scales weights and biases back to the size of torch's initialisation; it cannot bring back what was
    lost among rounding.
    """

    explains = frozenset({Kind.NORM, Kind.COMPLETE, Kind.CONE, Kind.DIMENSIONAL})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Compare weights and biases with their initialisation, and read the optimiser's settings."""
        recorded = _strong_decay(scene)
        small = _shrunk(scene) if recorded >= STRONG else too_small(scene)
        if len(small) < 2 or len(small) < MOST * len(scene.weights) or scene.untrained:
            return
        biases = _shrunk_biases(scene)
        drawn_alike = same_size([weight.tensor for weight in small])  # with one small deviation, and never trained
        if recorded < STRONG and (not biases or drawn_alike):
            return
        told = [f"{len(small)} of {len(scene.weights)} weights"]
        told += [f"{len(biases)} biases"] if biases else []
        least = min(weight.size for weight in small)
        yield Suspicion(
            layer="",
            depth=-0.3,  # it concerns all layers
            evidence=(
                f"{' and '.join(told)} have shrunk, to 1/{1 / (math.sqrt(3) * least):.2g} of torch's initialisation"
                + (f"; the optimiser in the file has a weight decay of {recorded:g}" if recorded >= STRONG else "")
                + _last_step(scene)
            ),
            known=True,
            size=0.5 * len(small),
            numbers={"weight_decay": recorded, "weights": len(small), "biases": len(biases)},
            # That weights are small is what a decay does: where the file tells of one, it is the reason.
            roots=frozenset(weight.layer.site.layer for weight in small) if recorded >= STRONG else frozenset(),
        )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Scale all of them; as a sham, the weights of the last layer alone."""
        small = _shrunk(scene) if suspicion.numbers["weight_decay"] >= STRONG else too_small(scene)
        biases = _shrunk_biases(scene)
        yield Intervention(
            probe=_with_biases(scaled(scene.confirm, small), biases),
            change=f"{len(small)} weights and {len(biases)} biases scaled to the size of torch's initialisation",
            control=scaled(scene.confirm, small[:1]),
            sham=f"scaling {small[0]} alone",
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Decay less, and not everything."""
        return (
            Remedy(
                id="less-weight-decay",
                title="Train again with less weight decay (L2), and none on biases and normalisation layers",
                snippet=(
                    "decayed = [p for p in model.parameters() if p.ndim > 1]\n"
                    "exempt = [p for p in model.parameters() if p.ndim <= 1]\n"
                    "optimizer = torch.optim.AdamW([\n"
                    "    {'params': decayed, 'weight_decay': 0.01},\n"
                    "    {'params': exempt, 'weight_decay': 0.0},\n"
                    "], lr=1e-3)"
                ),
                effect="AdamW in place of Adam: there the decay does not grow when gradients shrink",
                reference="Loshchilov & Hutter 2019, arXiv:1711.05101",
            ),
            Remedy(
                id="normalise",
                title="Or put normalisation behind the layers, which makes the size of their weights irrelevant",
                snippet="norm = torch.nn.BatchNorm2d(64)",
                effect="train again",
            ),
        )


def _strong_decay(scene: Scene) -> float:
    """The decay that the file tells of; 0 where so few steps at so low a rate were made that it can have done little.

    A usual decay of AdamW, 0.01, takes tens of thousands of steps at a usual rate to show.
    """
    told = scene.recipe.weight_decay or 0.0
    facts = scene.optimiser if told >= STRONG else None
    if facts is not None and facts.fits and facts.decay_left is not None and facts.decay_left > INNOCENT:
        return 0.0
    return told


def _last_step(scene: Scene) -> str:
    """What the moments of the optimiser tell of the decay in its last step."""
    facts = scene.optimiser
    if facts is None or not facts.fits or facts.decay_share is None:
        return ""
    if facts.decayed:
        return f"; in {len(facts.decayed)} weights its last step was nothing but decay"
    if facts.decay_share >= BALANCED:
        return f"; decay was {facts.decay_share:.0%} of what moved the weights last, no less than the loss"
    return ""


def _shrunk(scene: Scene) -> list[Weight]:
    """The weights that are smaller than training without decay leaves them, but not zero."""
    return [weight for weight in scene.weights if 0 < weight.size < LESS and not weight.alike]


def _shrunk_biases(scene: Scene) -> dict[str, Tensor]:
    """Biases of the path far below their initial size, by name; none if one is of usual size, or if all are zero."""
    fans = {weight.layer.site.layer: weight.rows.shape[1] for weight in scene.weights}
    found: dict[str, Tensor] = {}
    for name, layer in scene.biases.items():
        bias, fan_in = scene.module.get_parameter(name).detach(), fans.get(layer.site.layer)
        size = float(bias.double().square().mean().sqrt())
        if fan_in is None or size == 0:
            continue
        if size > SHRUNK / math.sqrt(3 * fan_in):
            return {}
        found[name] = bias
    return found


def _with_biases(probe: Probe, biases: dict[str, Tensor]) -> Probe:
    usual = {}
    for name, bias in biases.items():
        size = float(bias.double().square().mean().sqrt())
        usual[name] = (bias.double() / size / math.sqrt(3 * max(bias.numel(), 1))).to(bias)
    return probe.with_tensors(usual) if usual else probe


def same_size(tensors: Sequence[Tensor]) -> bool:
    """Whether tensors have one root mean square, as if drawn with one deviation."""
    sizes = torch.stack([tensor.double().square().mean().sqrt() for tensor in tensors])
    return bool(sizes.max() < 1.1 * sizes.min())
