"""Weights that nobody has trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Level

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class TrainedWeights(Check):
    """Whether the weights have been trained at all.

    Measures: whether (nearly) all weights are distributed as the initialisers of their layers draw them: bounds,
    mean, mean square, distribution and largest singular value, each with its own null distribution.
    Healthy: no. Trained for as little as a few hundred steps, most tensors fail these tests by far.
    Fails (note): at least 95 % of the tested numbers look drawn, so that similarities are those of a random
    projection, which may keep items apart all the same; one untrained model in a thousand is missed. Tensors of
    fewer than 1024 numbers, and layers whose initialiser is not known, are left out.
    Usual reasons: another instance was trained than the one that was saved, loading failed silently, a parameter
    that no optimiser holds; or it is meant to be untrained.
    """

    HEALTHY = testing.trained
    COLLAPSED = testing.untrained

    def run(self, seen: Observations) -> Iterator[Finding]:
        """Missing weights are another finding: those cannot be trained."""
        if seen.weights is None or seen.weights.untrained is None:
            yield self.skipped("no model was loaded" if seen.weights is None else "there are no weights to test")
        elif seen.missing_keys or seen.mismatched_keys:
            yield self.skipped("weights are missing in the checkpoint")
        elif seen.weights.untrained:
            message = "the weights are as their layers draw them at the start: nobody has trained this model"
            yield self.failed(Level.NOTE, message, value=1.0, threshold=0.0)
        else:
            yield self.passed("the weights are not those of a fresh model", value=0.0, threshold=0.0)
