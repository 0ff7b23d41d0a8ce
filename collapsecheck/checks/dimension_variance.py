"""Variance that sits in a few dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Level

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class DimensionVariance(Check):
    """How evenly the dimensions share the variance.

    Measures: mean over root-mean-square of the standard deviations of the dimensions of unit rows, in
    [1/√D, 1]. A share p of equally live dimensions gives √p.
    Healthy: 0.5 to 1.
    Fails: below 0.2, where about 4 % of the dimensions hold nearly everything (note). This says nothing about
    the rank in other directions and never decides a verdict; it points at quantisation, pruning and indexing,
    which work by dimension.
    Source: the terms of the standard-deviation ratio of SimSiam (Chen & He 2021, 2011.10566).
    """

    thresholds = {"note": 0.2}
    HEALTHY = testing.power_law

    @staticmethod
    def COLLAPSED() -> Observations:  # noqa: N802 - the contract's name
        """One dimension in a hundred moves."""
        import numpy as np

        rows = np.random.default_rng(0).standard_normal((500, 200))
        rows[:, 2:] *= 1e-3
        return testing.observed(rows)

    def run(self, seen: Observations) -> Iterator[Finding]:
        """Judge the evenness."""
        if seen.rows < 2 or seen.measure("unit_spread").value <= 3 * seen.rounding_floor:
            yield self.skipped("the embeddings are numerically constant or fewer than two")
            return
        evenness = seen.measure("evenness")
        limit = self.limits["note"]
        shared = {"value": evenness.value, "interval": evenness.interval, "threshold": limit}
        if evenness.below(limit):
            yield self.failed(Level.NOTE, "a few dimensions hold nearly all of the variance", **shared)
        else:
            yield self.passed(f"the dimensions share the variance (evenness {evenness.value:.2f})", **shared)
