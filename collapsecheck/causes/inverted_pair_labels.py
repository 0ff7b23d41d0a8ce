"""Cause `inverted-pair-labels`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collapsecheck.causes import OBJECTIVE, Cause, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.scene import Scene

# Losses of pairs, which expect 1 for alike in some libraries and 1 for different in others.
_NAMES = ("contrastive", "cosineembedding", "siamese", "hadsell", "pairloss", "cosinesimilarityloss")
_NOT = ("ntxent", "infonce", "simclr", "supcon", "supervisedcontrastive", "clip")


class InvertedPairLabels(Cause):
    """The loss takes pairs that are alike for different ones: it draws different items together.

    Hadsell et al. (2006) write 0 for alike; others write 1. With the wrong convention, or with margins meant for
    distances used on similarities, the many different pairs attract each other, until all items are one point. The
    weights alone do not tell by which objective they were trained: the loss must be stated (`--loss contrastive`) or be
    in the checkpoint. It has a part that pushes apart; if training has learnt the opposite, that part works on the
    wrong pairs. Your own loss (`--loss losses.py:pairs`) is asked which it finds cheaper: classes apart, or one point.
    Likely at most.
    """

    explains = frozenset({Kind.COMPLETE, Kind.CONE})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """See whether a loss of pairs has made different items alike."""
        recipe, asked, learnt = scene.recipe, scene.asked, scene.learnt_collapse
        if learnt is None:
            return
        if asked is not None and scene.objective is not None and scene.objective.needs_labels:
            marks = asked.landmarks
            if marks.inverted:
                yield Suspicion(
                    layer="",
                    depth=OBJECTIVE - 0.01,  # more than a loss without repulsion: it repels, but the wrong ones
                    evidence=(
                        f"{asked.objective} costs {marks.apart:.4g} where each class has a place of its own, and "
                        f"{marks.one_point:.4g} where all items are in one point: it asks for the opposite of what the "
                        f"labels say; {learnt.share:.0%} of the spread of an untrained twin is left"
                    ),
                    known=True,
                    roots=frozenset(layer.site.layer for layer in scene.path),
                )
                return
        if not recipe.speaks_of(*_NAMES) or recipe.speaks_of(*_NOT):
            return
        told = ""
        if asked is not None and asked.through > 0:
            told = (
                f"; one step along it, the right way round, that changes the weights by 0.1 % would spread them by "
                f"{asked.change:.1%}"
            )
        yield Suspicion(
            layer="",
            depth=OBJECTIVE,
            evidence=(
                f"the loss is named {recipe.loss}, which pushes different items apart, but {learnt.layers} layers have "
                f"learnt to draw them together: {learnt.share:.0%} of the spread of an untrained twin is left{told}"
            ),
            known=True,
            roots=learnt.roots,
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Turn the labels, or the margins, round."""
        return (
            Remedy(
                id="turn-labels",
                title="Look up which pairs the loss calls 1, and turn the labels round; check it on two known pairs",
                snippet=(
                    "def contrastive(first, second, different, margin=1.0):\n"
                    "    distance = torch.nn.functional.pairwise_distance(first, second)\n"
                    "    return torch.where(\n"
                    "        different, torch.relu(margin - distance) ** 2, distance**2).mean()"
                ),
                effect="with similarities instead of distances: positive margin 1, negative margin 0",
                reference="Hadsell et al. 2006, CVPR",
            ),
        )
