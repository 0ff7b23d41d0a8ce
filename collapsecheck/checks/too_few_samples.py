"""Too little to judge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Level

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class TooFewSamples(Check):
    """Whether there are enough embeddings for a verdict.

    Measures: the number of finite embeddings n, against the dimension D.
    Healthy: n of at least 4 D; 1000 are plenty for most models.
    Fails: below 16 (warning): only exact facts (NaN, zero rows, equal rows) can be told, and without one the
    verdict is inconclusive. Below 2 D (note): the rank cannot exceed n − 1, and every rank is read against
    that ceiling.
    """

    thresholds = {"warning": 16.0, "rows_per_dimension": 2.0}
    HEALTHY = testing.power_law
    COLLAPSED = testing.few_rows

    def run(self, seen: Observations) -> Iterator[Finding]:
        """Compare n with the two limits."""
        wanted = self.limits["rows_per_dimension"] * seen.dimension
        message = f"{seen.rows} embeddings of {seen.dimension} dimensions"
        if seen.rows < self.limits["warning"]:
            yield self.failed(Level.WARNING, message, value=float(seen.rows), threshold=self.limits["warning"])
        elif seen.rows < wanted:
            yield self.failed(
                Level.NOTE,
                f"{message}: ranks are limited by the number of items",
                value=float(seen.rows),
                threshold=wanted,
            )
        else:
            yield self.passed(message, value=float(seen.rows), threshold=wanted)
