"""NaN and Inf."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Kind, Level

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class NonFinite(Check):
    """Embeddings that contain NaN or Inf.

    Measures: the number of rows with at least one value that is not finite.
    Healthy: 0.
    Fails: with one such row (error). A NaN spreads through every later sum, so no other number would be
    defined: the rows are counted, listed and left out, and everything else is measured on the rest.
    Usual reasons: overflow in half precision, division by a zero norm or variance, a diverged training run.
    """

    HEALTHY = testing.power_law
    COLLAPSED = testing.poisoned

    def run(self, seen: Observations) -> Iterator[Finding]:
        """Count, and name the first rows."""
        count, total = seen.embeddings.non_finite, seen.embeddings.rows_seen
        if not count:
            yield self.passed(f"all {total} embeddings are finite", value=0.0, threshold=0.0)
            return
        yield self.failed(
            Level.ERROR,
            f"{count} of {total} embeddings contain NaN or Inf",
            value=float(count),
            threshold=0.0,
            kind=Kind.NON_FINITE,
            evidence={"rows": list(seen.embeddings.non_finite_rows)},
        )
