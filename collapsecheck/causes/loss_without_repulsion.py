"""Cause `loss-without-repulsion`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from collapsecheck.causes import OBJECTIVE, Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.objectives.with_variance import WithVariance
from collapsecheck.observe.rehearsal import STEPS
from collapsecheck.scene import Scene

# Layers over which a loss of spread is gradual.
SEVERAL = 3
# The median size of the weights of a net that trained at a usual rate; decayed and blown up ones have other causes.
USUAL_SIZES = (0.2, 1.6)


class LossWithoutRepulsion(Cause):
    """The objective pulls embeddings together, and nothing in it pushes different items apart.

    Attracting positives alone, without negatives, stop-gradient, a predictor or a variance term, is solved best by one
    point for all (Chen & He 2021; Bardes et al. 2022). All layers take part, and no change of one of them brings it
    back. What a checkpoint can tell is that training has *learnt* the collapse: layer by layer there is less spread
    than in an untrained twin, in weights of a usual size. Where the loss is stated it is asked: whether any embeddings
    cost less than one point for all, and whether a step along it brings these together. Likely, unless there is time to
    train (`--trial`): from fresh weights, once as stated, and once with a term that keeps deviations up.
    """

    explains = frozenset({Kind.COMPLETE, Kind.CONE, Kind.DIMENSIONAL})
    rehearsed = True

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """See whether several layers have learnt to bring items together, or whether the loss is gradual at least."""
        learnt = scene.learnt_collapse
        asked = scene.asked
        if asked is not None and asked.landmarks.attracted and learnt is not None:
            marks, falls = asked.landmarks, asked.interval[1] < 0
            yield Suspicion(
                layer="",
                depth=OBJECTIVE,
                evidence=(
                    f"for {asked.objective} nothing is cheaper than one point for all: it costs {marks.one_point:.4g}, "
                    f"the best embeddings found cost {marks.floor:.4g}, these {asked.here:.4g}"
                    + ("; the next step would draw them closer still" if falls else "")
                    + f"; {learnt.share:.0%} of the spread of an untrained twin is left"
                ),
                known=True,
                roots=frozenset(layer.site.layer for layer in scene.path),
            )
            return
        told = learnt is not None and (learnt.sure or scene.kind is Kind.COMPLETE)
        if learnt is not None and told and USUAL_SIZES[0] < learnt.median_size < USUAL_SIZES[1]:
            yield Suspicion(
                layer="",
                depth=1e6,
                evidence=(
                    f"training has brought items together in {learnt.layers} layers: {learnt.share:.0%} of the spread "
                    f"of an untrained twin is left behind {learnt.last}; the weights have a usual size"
                ),
                known=True,
                roots=learnt.roots,
            )
            return
        onset = scene.onset
        if onset is None or not onset.gradual:
            return
        names = [str(layer.site) for layer in scene.path]
        begin, end = names.index(onset.first), names.index(onset.last)
        weighted = {str(layer.site) for layer, _ in scene.steps(nn.Linear, nn.modules.conv._ConvNd)}
        count = len(weighted & set(names[begin : end + 1]))
        if count < SEVERAL:
            return
        yield Suspicion(
            layer="",
            depth=1e6,
            evidence=f"the {onset.measure} falls gradually, over {count} layers with weights, and not at one of them",
        )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Where there is time: train fresh copies with a variance term, and as a sham without."""
        if scene.rehearsal is None or scene.objective is None:
            return
        kept = WithVariance(scene.objective)
        yield Intervention(
            probe=scene.rehearsal.trained(objective=kept).on_items(scene.confirm),
            change=f"trained anew from fresh weights for {STEPS} steps, with a term that keeps deviations up",
            control=scene.rehearsal.trained().on_items(scene.confirm),
            sham="training just as long with the loss as it is",
            repeats=True,
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Add what pushes apart."""
        return (
            Remedy(
                id="variance-term",
                title="Add a term that keeps the deviation of every dimension up (VICReg)",
                snippet=(
                    "deviation = torch.sqrt(embeddings.var(dim=0) + 1e-4)\n"
                    "loss = loss + 25 * torch.relu(1 - deviation).mean()"
                ),
                effect="needs batches of at least 64",
                reference="Bardes et al. 2022, arXiv:2105.04906",
            ),
            Remedy(
                id="negatives",
                title="Or a contrastive or triplet loss with different items as negatives, a new partner in each epoch",
                snippet=(
                    "similarity = torch.nn.functional.normalize(first, dim=1) @ (\n"
                    "    torch.nn.functional.normalize(second, dim=1).T)\n"
                    "loss = torch.nn.functional.cross_entropy(\n"
                    "    similarity / 0.1, torch.arange(len(first)))"
                ),
                reference="Chen et al. 2020, arXiv:2002.05709",
            ),
        )
