"""Dimensions that never move."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Kind, Level

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class DeadDimensions(Check):
    """Dimensions of the embedding that are the same for every item.

    Measures: the number of dimensions that are constant, or whose standard deviation is below a thousandth of
    the root-mean-square one.
    Healthy: 0 for signed embeddings; up to a quarter after a final ReLU, where a unit that fires for no item of
    this sample may fire for others (the count falls as the sample grows).
    Fails: half of the dimensions of a signed embedding (warning), three quarters after a ReLU (note). Dead
    dimensions waste memory; whether items are still told apart is the question of the effective rank.
    Usual reasons: dead ReLU units, zeroed normalisation scales, weight decay on unused outputs.
    """

    thresholds = {"warning": 0.5, "rectified_note": 0.75}
    HEALTHY = testing.rectified
    COLLAPSED = testing.dead_half

    def run(self, seen: Observations) -> Iterator[Finding]:
        """Compare the share of dead dimensions with what this kind of output may have."""
        if seen.rows < 2:
            yield self.skipped("at least two embeddings are needed")
            return
        if seen.rows and seen.measure("relative_spread").value <= 3 * seen.rounding_floor:
            yield self.skipped("the embeddings are numerically constant: all dimensions are dead")
            return
        dead = seen.measure("dead_dimensions").value
        share = dead / seen.dimension
        rectified = seen.non_negative
        limit = self.limits["rectified_note" if rectified else "warning"]
        message = f"{dead:.0f} of {seen.dimension} dimensions are the same for every item"
        if share >= limit and seen.dimension > 1:
            yield self.failed(
                Level.NOTE if rectified else Level.WARNING,
                message,
                value=share,
                threshold=limit,
                kind=None if rectified else Kind.DIMENSIONAL,
                evidence={"dead": dead, "rectified": rectified},
            )
        else:
            yield self.passed(message, value=share, threshold=limit)
