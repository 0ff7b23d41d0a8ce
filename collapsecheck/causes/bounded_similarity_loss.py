"""Cause `bounded-similarity-loss`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from collapsecheck.causes import OBJECTIVE, Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.objectives.trained_head import TrainedHead
from collapsecheck.observe.rehearsal import STEPS
from collapsecheck.scene import Scene

_NAMES = ("sigmoidcosine", "sigmoidofcosine", "sigmoiddistance", "bounded", "bcecosine", "cosinebce")
# The loss holds embeddings in a point if it costs what a point costs, to 1 %, and asks no more of an item than this
# share of what it asks of random ones. In a sound net, and in any that is on its way, it asks for 0.5 to 2.
AT_POINT, HELD = 0.01, 0.05
# Spread of an untrained copy below which the net was in a point before the loss had a say.
BORN = 0.05


class BoundedSimilarityLoss(Cause):
    """The similarity is squashed before the loss, so that no embedding can reach what the loss asks for.

    A sigmoid of a cosine lies between 0.27 and 0.73, one of a distance is never above 1, which is the usual margin: not
    even two items alone can cost nothing. And where all cosines are 1 a cosine no longer changes with the embeddings:
    nothing pulls them apart. A net that begins in one point, as deep ones without normalisation do, stays there.
    The loss must be stated (`--loss cosine-bce`, or your own), or be in the checkpoint. Measured is what it asks of
    these embeddings against random ones. With time to train (`--trial`), fresh copies show whether another loss leaves.
    """

    explains = frozenset({Kind.COMPLETE, Kind.CONE, Kind.DIMENSIONAL})
    rehearsed = True

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Ask the loss itself what it asks for, and of what is stated only by name whether it was learnt."""
        asked, recipe = scene.asked, scene.recipe
        if asked is not None:
            marks = asked.landmarks
            at_point = abs(asked.here - marks.one_point) <= AT_POINT * abs(marks.one_point)
            if not marks.bounded or not at_point or not asked.force < HELD:
                return
            yield Suspicion(
                layer="",
                depth=OBJECTIVE,
                evidence=(
                    f"{asked.objective} costs {asked.here:.4f} here, as one point for all does, and not even two items "
                    f"alone can cost less than {min(marks.alike, marks.different):.4f}; what it asks of an embedding "
                    f"here is {asked.force:.1e} of what it asks of random ones, so that nothing leads out"
                ),
                known=True,
                roots=frozenset(layer.site.layer for layer in scene.path),
                numbers={"force": asked.force, "floor": marks.floor},
                together=("depth-without-normalisation",) if scene.untrained_spread < BORN else (),
            )
        elif recipe.speaks_of(*_NAMES) and (scene.learnt_collapse is not None or _gradual(scene)):
            yield Suspicion(
                layer="",
                depth=OBJECTIVE,
                evidence=f"the loss is named {recipe.loss}: a squashed similarity cannot reach what it asks of pairs",
                known=True,
            )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Where there is time: train fresh copies with a linear head and cross-entropy, and as a sham as stated."""
        if scene.rehearsal is None or not math.isfinite(suspicion.numbers.get("force", math.nan)):
            return
        yield Intervention(
            probe=scene.rehearsal.trained(objective=TrainedHead()).on_items(scene.confirm),
            change=f"trained anew from fresh weights for {STEPS} steps, by cross-entropy of a linear head",
            control=scene.rehearsal.trained().on_items(scene.confirm),
            sham="training just as long with the loss as it is",
            repeats=True,
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Scale before squashing, or do not squash."""
        return (
            Remedy(
                id="scale-similarity",
                title="Scale the cosine before the sigmoid, with a learnt bias, or use the distance as it is",
                snippet=(
                    "unit = torch.nn.functional.normalize(embeddings, dim=1)\n"
                    "logits = unit @ unit.T * 10 - 10  # both numbers learnt"
                ),
                effect="and normalise in depth: where all cosines are 1 no loss of cosines has a gradient",
                reference="Zhai et al. 2023, arXiv:2303.15343",
            ),
        )


def _gradual(scene: Scene) -> bool:
    return scene.onset is not None and scene.onset.gradual
