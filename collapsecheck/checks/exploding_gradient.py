"""Gradients that grow on their way back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Level

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class ExplodingGradient(Check):
    """Whether a gradient stays finite, and of one size, on its way back.

    Measures: as `vanishing-gradient` does, the first three layers over the last three; and NaN or Inf.
    Healthy: 0.01 to 10; 400 behind thirty layers of batch normalisation without residuals (Yang et al. 2019).
    Fails: above 1e4, or where the gradient of a finite objective is NaN or Inf (warning): one step then throws the
    first layers away.
    Usual reasons: weights that are too large, recurrence over long sequences, a square root or a norm at zero, whose
    derivative is infinite (Pascanu et al. 2013).
    """

    thresholds = {"warning": 1e4}
    HEALTHY = testing.learning
    COLLAPSED = testing.exploding

    def run(self, seen: Observations) -> Iterator[Finding]:
        """What is no number first."""
        found = seen.gradients
        limit = self.limits["warning"]
        broken = [one for one in found.layers if math.isinf(one.gradient)]
        if broken and not (seen.weights is not None and seen.weights.non_finite):
            last = broken[-1]
            yield self.failed(
                Level.WARNING,
                f"the gradient of {found.objective} is NaN or Inf at {len(broken)} of {len(found.layers)} layers, the "
                f"last of them {last.layer or 'the model itself'}, although the objective is {found.value:.4g}",
                threshold=limit, layer=last.layer, evidence={"layers": [one.layer for one in broken]},
            )  # fmt: skip
            return
        growth = found.decay
        if not found.learning or math.isnan(growth):
            yield self.skipped("no gradient arrives at any layer, or the weights themselves are not finite")
        elif growth > limit:
            first = found.learning[0]
            yield self.failed(
                Level.WARNING,
                f"the gradient grows on its way back: at {first.layer or 'the first layer'} it is {growth:.1e} times "
                "what it is at the last layers, so that one step throws the first ones away",
                value=growth, threshold=limit, layer=first.layer,
            )  # fmt: skip
        else:
            yield self.passed("the gradient does not grow on its way back", value=growth, threshold=limit)
