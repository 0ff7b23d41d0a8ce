"""Repeated inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Level

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class DistinctInputs(Check):
    """Inputs that repeat: equal inputs have equal embeddings, and the model is not to blame for that.

    Measures: the share of inputs, as the model receives them, that repeat an earlier one.
    Healthy: 0.
    Fails: above 10 % (note), above 90 % (warning: so few different items cannot tell a good model from a bad one);
    the verdict points at the data first when more than half repeat.
    Usual reasons: an index or a closed-over variable that never moves, a cached file, preprocessing that wipes
    out the differences, a data set with copies.
    """

    thresholds = {"note": 0.1, "warning": 0.9}
    HEALTHY = testing.power_law

    @staticmethod
    def COLLAPSED() -> Observations:  # noqa: N802 - the contract's name
        """One input, again and again."""
        import numpy as np

        return testing.observed(np.ones((100, 8)), inputs=np.ones((100, 4), np.float32))

    def run(self, seen: Observations) -> Iterator[Finding]:
        """Count repeats among the inputs."""
        distinct, counted = seen.measure("distinct_inputs").value, seen.embeddings.rows_seen
        repeated = 1 - distinct / max(counted, 1)
        message = f"{distinct:.0f} distinct input{'s' * (distinct != 1)} among {counted}"
        shared = {"value": repeated, "threshold": self.limits["note"]}
        if repeated > self.limits["note"] and counted > 1:
            level = Level.WARNING if repeated > self.limits["warning"] else Level.NOTE
            yield self.failed(level, message, evidence={"distinct_inputs": distinct}, **shared)
        else:
            yield self.passed(message, **shared)
