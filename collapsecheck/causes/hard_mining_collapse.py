"""Cause `hard-mining-collapse`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from collapsecheck.causes import OBJECTIVE, Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.objectives.losses.batch_hard_triplet import BatchHardTriplet
from collapsecheck.objectives.losses.triplet import Triplet
from collapsecheck.observe import NotObservable
from collapsecheck.observe.objective_facts import ObjectiveFacts, objective_facts
from collapsecheck.observe.rehearsal import STEPS
from collapsecheck.scene import Scene

# Margins in use; where the last loss is one of them, and all items are in one point, every triplet costs the margin.
MARGINS = (0.01, 0.1, 0.2, 0.3, 0.5, 1.0)
# What a soft margin costs per triplet when all distances are zero.
SOFT = math.log(2)
# How near the last loss must come to it, and how small distances must be against the margin.
NEAR, SMALL = 0.02, 0.1
# Rates from which the hardest triplets are known to end in one point while all triplets do not: of Adam, of plain SGD.
LARGE, LARGE_SGD = 3e-3, 0.05
TRIED = 1e-2  # where nobody tells the rate
_NAMES = ("triplet", "batchhard", "hardmin", "hardest", "hardneg", "semihard")


class HardMiningCollapse(Cause):
    """Triplets of only the hardest positives and negatives drew all embeddings into one point.

    Where the hardest negative is nearer than the hardest positive, the gradient is smallest in one point for all: the
    loss stays at exactly the margin, or at ln 2 with a soft margin (Hermans et al. 2017, section 3; Xuan et al. 2020).
    It takes both, the hardest triplets and steps that are large for them: all triplets, or a small rate, part items.
    The weights alone do not tell by which objective they were trained. The loss must be stated (`--loss triplet`), or
    be in the checkpoint; then distances of zero against the margin are the evidence, and that a step along the hardest
    triplets draws items together where one along all of them does not. With time to train (`--trial`) fresh copies show
    whether either alone is enough.
    """

    explains = frozenset({Kind.COMPLETE, Kind.NORM})
    rehearsed = True

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Compare the distances between items with the margin, and the last loss with what one point costs."""
        recipe = scene.recipe
        raw = scene.seen.raw
        distance = math.sqrt(2 * max(float(raw.variances.sum()), 0.0)) if raw.n else math.nan
        named = recipe.speaks_of(*_NAMES)
        margins = (recipe.margin,) if recipe.margin else MARGINS
        costs = (*margins, SOFT) if named or recipe.margin else ()
        at = next((cost for cost in costs if _at(recipe.last_loss, cost)), None)
        if not (named or at is not None) or not distance < SMALL * (recipe.margin or at or 0.2):
            return
        if not named and scene.learnt_collapse is None:
            return
        told = f"the loss is named {recipe.loss}" if named else "the checkpoint has a margin"
        told += f", and its last value {recipe.last_loss:g} is that of one point for all" if at is not None else ""
        learnt = scene.learnt_collapse
        roots = learnt.roots if learnt is not None else frozenset()
        if at is not None:  # the loss itself says that all are in one point
            roots = frozenset(layer.site.layer for layer in scene.path)
        told += _direction(scene)
        rate, large = recipe.rate, LARGE if recipe.adaptive else LARGE_SGD
        high = rate is not None and rate >= large
        told += f"; it takes both, the hardest triplets and a rate of {rate:g}" if high else ""
        yield Suspicion(
            layer="",
            depth=OBJECTIVE,
            evidence=f"items are {distance:.1e} apart, so that every triplet costs just the margin; {told}",
            known=True,
            roots=roots,
            together=("learning-rate-too-high",) if high else (),
        )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Where there is time: train fresh copies with all triplets, and as a sham with the hardest."""
        if scene.rehearsal is None:
            return
        margin = scene.recipe.margin
        rate = scene.recipe.rate or (LARGE_SGD if scene.rehearsal.kind and not scene.rehearsal.adaptive else TRIED)
        every = scene.rehearsal.trained(objective=Triplet(margin=margin), rate=rate)
        hardest = scene.rehearsal.trained(objective=BatchHardTriplet(margin=margin), rate=rate)
        yield Intervention(
            probe=every.on_items(scene.confirm),
            change=f"trained anew from fresh weights for {STEPS} steps at a rate of {rate:g}, with all triplets",
            control=hardest.on_items(scene.confirm),
            sham="training just as long with only the hardest",
            repeats=True,
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Unit rows, easier triplets first, a lower rate."""
        return (
            Remedy(
                id="semi-hard-triplets",
                title="Begin with all, or with semi-hard triplets; turn to the hardest ones when the loss falls",
                snippet=("unit = torch.nn.functional.normalize(embeddings, dim=1)\ndistance = torch.cdist(unit, unit)"),
                effect="unit rows keep distances from shrinking altogether; lower the rate by three to ten as well",
                reference="Schroff et al. 2015, arXiv:1503.03832; Hermans et al. 2017, arXiv:1703.07737",
            ),
            Remedy(
                id="classify-first",
                title="Train as a classifier first, then by triplets, with a new partner for each item in every epoch",
                snippet="head = torch.nn.Linear(embeddings.shape[1], 10)  # one per class",
            ),
        )


def _direction(scene: Scene) -> str:
    """Where a step along the hardest triplets leads from here, and where one along all of them does."""
    if scene.asked is None or "triplet" not in scene.asked.objective:
        return ""
    margin = scene.recipe.margin
    try:
        hardest, every = (objective_facts(scene.find, kind(margin=margin)) for kind in (BatchHardTriplet, Triplet))
    except NotObservable:
        return ""
    if not hardest.interval[1] < 0:
        return ""
    return (
        f"; a step along the hardest triplets draws items together (cosine {hardest.alignment:+.2f} with what parts "
        f"them), one along all triplets {_leads(every)}"
    )


def _leads(facts: ObjectiveFacts) -> str:
    low, high = facts.interval
    how = "parts them" if low > 0 else "does not" if high > 0 else "does so too"
    return f"{how} ({facts.alignment:+.2f})"


def _at(loss: float | None, cost: float) -> bool:
    return loss is not None and abs(loss - cost) <= NEAR * cost
