"""Repeated rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Kind, Level

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class DistinctEmbeddings(Check):
    """Different inputs that get the very same embedding.

    Measures: the share of embeddings that repeat an earlier one, as `torch.unique(dim=0)` counts them, less
    the share of inputs that repeat an earlier one.
    Healthy: 0; a few repeats come from repeated inputs, which are subtracted.
    Fails: above 50 % (error), above 5 % (warning), above 1 % (note). Half is where the typical item shares its
    embedding with another: retrieval among them is a draw.
    Usual reasons: few quantisation codes, saturated activations, dead ReLU, an output that only knows a class.
    """

    thresholds = {"error": 0.5, "warning": 0.05, "note": 0.01}
    HEALTHY = testing.power_law
    COLLAPSED = testing.few_points

    def run(self, seen: Observations) -> Iterator[Finding]:
        """Count repeats beyond those of the inputs."""
        if seen.rows < 2:
            yield self.skipped("at least two embeddings are needed")
            return
        distinct = seen.measure("distinct_rows").value
        inputs = seen.measurements.get("distinct_inputs")
        counted = seen.embeddings.rows_seen if inputs is not None else 0
        repeated_inputs = 1 - inputs.value / counted if inputs is not None and counted else 0.0
        repeated = max(1 - distinct / seen.rows - repeated_inputs, 0.0)
        evidence = {
            "distinct_rows": distinct,
            "distinct_inputs": None if inputs is None else inputs.value,
            "exact": seen.embeddings.distinct_rows.exact,
        }
        of_inputs = "" if inputs is None else f" for {inputs.value:.0f} distinct inputs"
        message = f"{distinct:.0f} distinct embedding{'s' * (distinct != 1)} among {seen.rows}{of_inputs}"
        for level in (Level.ERROR, Level.WARNING, Level.NOTE):
            limit = self.limits[level.value]
            if repeated > limit:
                yield self.failed(level, message, value=repeated, threshold=limit, kind=Kind.CLUSTER, evidence=evidence)
                return
        yield self.passed(message, value=repeated, threshold=self.limits["note"], evidence=evidence)
