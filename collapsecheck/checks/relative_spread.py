"""Complete collapse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Kind, Level

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class RelativeSpread(Check):
    """How far the directions of the embeddings reach around their mean direction.

    Measures: the relative spread of unit rows, √(T/(T+‖mean‖²)), in [0, 1]; about √(1 − mean cosine).
    Healthy: 0.3 to 1; a common offset lowers it harmlessly to 0.1.
    Fails: at or below 0.01, or six times the rounding floor of the embeddings' dtype if that is more (error).
    0.01 means a mean cosine of 0.9999: printed with four digits every pair reads 1.0000, and bfloat16, whose
    rounding alone makes 0.0016, keeps no order among neighbours. At or below three times the floor the rows are
    numerically constant: what is left is rounding, and any rank of it would describe noise.
    Usual reasons: collapse by the objective (hard mining, attraction without repulsion), depth without
    normalisation, dead ReLU, stale BatchNorm statistics, inputs on the wrong scale.
    Source of the quantity: the collapse level of SimSiam (Chen & He 2021) in its root-mean-square form.
    """

    thresholds = {"error": 0.01, "floors_error": 6.0, "floors_constant": 3.0}
    ROWS_FOR_INTERVAL = 16  # the jackknife needs a row per block

    HEALTHY = testing.rectified
    COLLAPSED = testing.nearly_constant

    def run(self, seen: Observations) -> Iterator[Finding]:
        """Compare the spread of the unit rows with the limit for this dtype."""
        if seen.dimension < 2 and seen.measure("relative_spread").value > seen.rounding_floor:
            yield self.skipped("directions have no spread in one dimension: every cosine is 1 or -1")
            return
        spread = seen.measure("unit_spread")
        limit = max(self.limits["error"], self.limits["floors_error"] * seen.rounding_floor)
        constant = spread.value <= self.limits["floors_constant"] * seen.rounding_floor
        shared: dict[str, Any] = {"value": spread.value, "threshold": limit, "interval": spread.interval}
        enough = seen.rows >= self.ROWS_FOR_INTERVAL
        unsure = enough and spread.straddles(limit)
        shared["borderline"] = enough and spread.near(limit) and not constant
        if constant or spread.below(limit) or spread.value == 0:
            gap = seen.measure("mean_cosine_gap").value
            message = (
                "all embeddings point in one direction; the differences left are rounding"
                if constant
                else f"all embeddings point in almost one direction: cosines differ from 1 by {gap:.1g} on average"
            )
            yield self.failed(
                Level.ERROR, message, kind=Kind.COMPLETE, evidence={"numerically_constant": constant}, **shared
            )
        elif unsure:
            yield self.failed(
                Level.WARNING,
                f"the spread {spread.value:.3g} is too close to the limit {limit:.3g} to call",
                kind=Kind.CONE,
                **shared,
            )
        else:
            yield self.passed(f"directions spread by {spread.value:.3g}", **shared)
