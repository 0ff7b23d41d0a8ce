"""Cause `untrained-weights`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collapsecheck.causes import Cause, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.scene import Scene


class UntrainedWeights(Cause):
    """The weights are as the layers draw them at the start: nobody has trained this model.

    The weights of the file are put to statistical tests against what the initialisers of their layers would have
    drawn: bounds, mean, mean square, distribution and the largest singular value. Training moves them beyond that
    within a few steps. Before it, cosines of 0.95 to 1 are normal (Poole et al. 2016), so that there is nothing to
    repair. No experiment can put trained weights there; the tests tell. A deep net whose embeddings are gone altogether
    is `depth-without-normalisation` as well, which training would hardly get over.
    """

    explains = frozenset(set(Kind) - {Kind.NON_FINITE})
    noted = True

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Ask whether (nearly) all weights look fresh."""
        facts = scene.seen.weights
        if facts is not None and not facts.untrained:
            return  # asked before, at the cost of one tensor
        freshness = scene.freshness
        if not scene.untrained or not freshness.drawn:
            return
        largest = max(freshness.drawn, key=lambda one: one.elements)
        tested = len(freshness.drawn) + len(freshness.trained)
        yield Suspicion(
            layer="",
            depth=-0.5,  # before whatever the model does, and behind the data
            evidence=(
                f"{len(freshness.drawn)} of {tested} tested weight tensors, {freshness.share:.0%} of their numbers, "
                f"are distributed as at the start: {largest.name} like {largest.like} (p = {largest.p:.2f})"
            ),
            known=True,
            size=0.5,
            numbers={"share": freshness.share, "tensors": tested},
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Load what was trained, or train."""
        return (
            Remedy(
                id="load-what-was-trained",
                title="See that what is saved is the model that the optimiser holds, after training",
                snippet=(
                    "before = {key: value.clone() for key, value in model.state_dict().items()}\n"
                    "# … train …\n"
                    "moved = [key for key, value in model.state_dict().items()\n"
                    "         if not torch.equal(value, before[key])]\n"
                    "print(len(moved), 'tensors have moved')  # 0: another model was trained"
                ),
                effect="collapsecheck inspect shows what else the file holds, and which part was taken (--key)",
            ),
            Remedy(
                id="train-first",
                title="If the model is meant to be untrained: high cosines say nothing yet, compare after training",
                effect="normalisation layers and He initialisation keep cosines apart from the start",
                reference="Poole et al. 2016, arXiv:1606.05340",
            ),
        )
