"""Embeddings that do not follow their inputs, or jump."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Level

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class InputSensitivity(Check):
    """How an embedding changes along the way from one item to another.

    Measures: Jacobian-vector products along the differences between items. Over the length of the embeddings they are
    the elasticity: how much of an embedding changes at all. Over the distance that the two embeddings really have they
    tell a smooth way (about 1) from jumps (far above) and steps (far below).
    Healthy: elasticity 0.1 to 2, jumps 0.2 to 1.5.
    Fails: above 100 (warning): the slope is a hundred times what the way needs, so that the least change of an input,
    as by compression or other rounding, gives another embedding. As a note where the slope is next to nothing although
    items differ: the embedding is made of steps, and no gradient arrives at the input.
    Usual reasons: weights that are too large, deep nets without residual connections; rounding and `sign`.
    """

    thresholds = {"warning": 100.0, "step": 1e-3, "constant": 1e-6}
    HEALTHY = testing.learning
    COLLAPSED = testing.jumping

    def run(self, seen: Observations) -> Iterator[Finding]:
        """Jumps, then steps."""
        found = seen.gradients
        reason = found.reasons.get("input-sensitivity")
        if reason or math.isnan(found.elasticity):
            yield self.skipped(reason or "embeddings or inputs of the few items looked at have no length")
            return
        limit = self.limits["warning"]
        evidence = {"elasticity": found.elasticity, "excess": found.excess}
        shared = {"value": found.excess, "threshold": limit, "evidence": evidence}
        if found.elasticity < self.limits["constant"] or math.isnan(found.excess):
            yield self.failed(
                Level.NOTE,
                f"the embedding hardly changes from one item to another: by {found.elasticity:.1e} of itself",
                value=found.elasticity, threshold=self.limits["constant"], evidence=evidence,
            )  # fmt: skip
        elif found.excess > limit:
            yield self.failed(
                Level.WARNING,
                f"the embedding jumps: on the way from one item to another its slope is {found.excess:.0f} times what "
                "their distance needs, so that the least change of an input gives another embedding",
                **shared,
            )
        elif found.excess < self.limits["step"]:
            yield self.failed(
                Level.NOTE,
                f"the embedding is made of steps: items differ, but its slope between them is {found.excess:.1e} of "
                "what their distance needs",
                **shared,
            )
        else:
            yield self.passed("the embedding follows its input smoothly", **shared)
