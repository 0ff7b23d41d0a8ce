"""Cause `too-few-samples`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collapsecheck.causes import Cause, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.scene import Scene


class TooFewSamples(Cause):
    """There are fewer items than a rank can be judged on: n embeddings span n − 1 directions at most.

    A low rank is then a property of the sample, not of the model. No experiment can add items; half of what there is
    would say less still.
    """

    explains = frozenset({Kind.DIMENSIONAL})
    expected = True
    noted = True

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Ask whether the items, rather than the dimension, limit the rank."""
        if not 0 < scene.seen.rows <= scene.seen.dimension:
            return
        yield Suspicion(
            layer="input",
            depth=-1.0,
            evidence=(
                f"{scene.seen.rows} embeddings of {scene.seen.dimension} dimensions: their rank is at most "
                f"{scene.seen.rows - 1}, whatever the model does"
            ),
            known=True,
            numbers={"rows": scene.seen.rows},
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """More items."""
        wanted = 4 * scene.seen.dimension
        return (
            Remedy(
                id="more-items",
                title=f"Scan on more items: {wanted} (four times the dimension) judge a rank, 1000 are plenty for most",
            ),
        )
