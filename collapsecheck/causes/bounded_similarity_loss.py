"""Cause `bounded-similarity-loss`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collapsecheck.causes import OBJECTIVE, Cause, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.scene import Scene

_NAMES = ("sigmoidcosine", "sigmoidofcosine", "sigmoiddistance", "bounded", "bcecosine", "cosinebce")


class BoundedSimilarityLoss(Cause):
    """The similarity is squashed before the loss, so that no embedding can reach what the loss asks for.

    A sigmoid of a cosine lies between 0.27 and 0.73, one of a distance is never above 1, which is the usual margin: the
    loss cannot fall, and its gradient is weak everywhere. Whether embeddings collapse then depends on the net. The
    weights do not tell the objective: it must be stated (`--loss sigmoid-cosine`) or be in the checkpoint.
    """

    explains = frozenset({Kind.COMPLETE, Kind.CONE, Kind.DIMENSIONAL})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Ask what is known of the loss."""
        recipe = scene.recipe
        if not recipe.speaks_of(*_NAMES) or (scene.learnt_collapse is None and not _gradual(scene)):
            return
        yield Suspicion(
            layer="",
            depth=OBJECTIVE,
            evidence=f"the loss is named {recipe.loss}: a squashed similarity cannot reach what it asks of pairs",
            known=True,
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
                reference="Zhai et al. 2023, arXiv:2303.15343",
            ),
        )


def _gradual(scene: Scene) -> bool:
    return scene.onset is not None and scene.onset.gradual
