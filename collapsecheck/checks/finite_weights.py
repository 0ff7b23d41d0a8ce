"""Weights that are no numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Level

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class FiniteWeights(Check):
    """Whether all weights are finite numbers.

    Measures: the parameters that hold NaN or Inf, wherever they are in the model.
    Healthy: none.
    Fails: at the first one (warning; where it reaches the embeddings, `non-finite` is an error). An Inf may hide
    behind a saturating activation, and a NaN in a layer behind the embedding; both show that training overflowed.
    Usual reasons: a learning rate that is too high, overflow in half precision, a division by zero in the loss.
    """

    HEALTHY = testing.trained
    COLLAPSED = testing.overflown

    def run(self, seen: Observations) -> Iterator[Finding]:
        """Name the first."""
        if seen.weights is None:
            yield self.skipped("no model was loaded")
            return
        broken = seen.weights.non_finite
        shared = {"value": float(len(broken)), "threshold": 0.0}
        if not broken:
            yield self.passed("all weights are finite numbers", **shared)
            return
        one = len(broken) == 1
        message = f"{len(broken)} tensor{'' if one else 's'} of the model hold{'s' * one} NaN or Inf, first {broken[0]}"
        yield self.failed(Level.WARNING, message, evidence={"tensors": list(broken)}, **shared)
