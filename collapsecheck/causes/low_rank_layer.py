"""Cause `low-rank-layer`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.observe.probe import redrawn
from collapsecheck.scene import Scene

# Effective rank of a weight over its smaller side: 0.6 at random, 0.2 to 0.5 trained.
LOW = 0.05
LOWEST = 3.0
SUDDEN = 5.0  # times as many dimensions go in as come out
# So few units that hold so much of the squared size of a matrix drown all others in what comes out.
FEW, MOST_OF_IT = 3, 0.8
WIDEST = 2048  # a larger matrix takes seconds to decompose


class LowRankLayer(Cause):
    """One layer maps everything onto a few directions, although what comes in has many.

    A bottleneck, a projection of rank one, or weights that decayed in all but a few directions. The experiment
    initialises that layer anew; the sham does so with a neighbour.
    """

    explains = frozenset({Kind.DIMENSIONAL, Kind.COMPLETE, Kind.CONE, Kind.CLUSTER})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Decompose the weights, and compare the ranks of what goes in and out."""
        for weight in scene.weights:
            layer = weight.layer
            if min(weight.rows.shape) < 4 or layer.before is None:
                continue
            before, after = layer.before.effective_rank, layer.after.effective_rank
            if not before > 2 * after:
                continue  # before anything is decomposed, which takes seconds for a large net
            rank, side = weight_rank(weight.rows)
            if _outsized(weight.rows):
                continue
            narrow = rank <= max(LOWEST, LOW * side)
            if not narrow and not (before > SUDDEN * after and after < LOWEST):
                continue
            yield Suspicion(
                layer=layer.site.layer,
                depth=layer.depth,
                evidence=(
                    f"{weight} has an effective rank of {rank:.1f} of {side}; "
                    f"{before:.1f} dimensions go in and {after:.1f} come out"
                ),
                numbers={"weight_rank": rank, "side": side, "weight": weight.name, "title": weight.title},
            )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Draw it anew; as a sham, a neighbour."""
        named = suspicion.numbers["weight"], suspicion.numbers["title"]
        weight = next(one for one in scene.weights if (one.name, one.title) == named)
        others = [one for one in scene.weights if one.name != weight.name]
        other = min(others, key=lambda one: abs(one.layer.depth - weight.layer.depth), default=None)
        yield Intervention(
            probe=redrawn(scene.confirm, [weight]),
            change=f"{weight} drawn anew, at full rank",
            control=redrawn(scene.confirm, [other]) if other else None,
            sham=f"drawing {other} anew" if other else "",
            uncontrolled="" if other else "there is no other layer with weights",
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Widen, initialise orthogonally, decay less."""
        return (
            Remedy(
                id="orthogonal-initialisation",
                title=f"Initialise {suspicion.layer} orthogonally, without weight decay on it, and train it again",
                snippet=(f"layer = model.get_submodule({suspicion.layer!r})\ntorch.nn.init.orthogonal_(layer.weight)"),
                effect="the layer must be trained again",
                reference="Saxe et al. 2014, arXiv:1312.6120",
            ),
            Remedy(
                id="read-before",
                title=f"Read the embedding in front of {suspicion.layer}, where its input still has many dimensions",
                snippet="",
                effect=f"collapsecheck scan … --layer with the layer before {suspicion.layer}",
            ),
        )


def _outsized(rows: Tensor) -> bool:
    """Whether a few units are so much larger than the others that they alone make the rank low.

    Such a matrix turns its input into all of its dimensions, one of which drowns the others: `rogue-dimension`.
    """
    sizes = rows.square().sum(dim=1)
    few = sizes.topk(min(FEW, len(sizes))).values.sum()
    if not few > MOST_OF_IT * sizes.sum():
        return False
    rank, side = weight_rank(rows / sizes.sqrt().clamp(min=torch.finfo(rows.dtype).tiny)[:, None])
    return rank > max(LOWEST, LOW * side)


def weight_rank(rows: Tensor) -> tuple[float, int]:
    """Effective rank (Roy & Vetterli 2007, of the singular values) of a matrix, and its smaller side."""
    side = min(rows.shape)
    if side > WIDEST or not bool(torch.isfinite(rows).all()):
        return float(side), side
    gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
    values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    if not values.sum() > 0:
        return 0.0, side
    shares = values / values.sum()
    return float(torch.exp(-torch.special.xlogy(shares, shares).sum())), side
