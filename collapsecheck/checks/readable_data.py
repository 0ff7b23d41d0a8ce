"""Items that could not be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Level

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class ReadableData(Check):
    """Whether all items of the data set could be read.

    Measures: the share of items that are empty, truncated, corrupt or refused.
    Healthy: 0.
    Fails: above 1 % (error; set with `--max-unreadable`): the gate fails, since what was measured is not what
    was asked for. Below that, any such item is a note. Unreadable items are skipped and named.
    """

    thresholds = {"error": 0.01}
    HEALTHY = testing.power_law
    COLLAPSED = testing.partly_read

    LISTED = 20

    def run(self, seen: Observations) -> Iterator[Finding]:
        """Count and name them."""
        count, total = len(seen.unreadable), seen.items
        share = count / max(total, 1)
        shared = {"value": share, "threshold": self.limits["error"]}
        if not count:
            yield self.passed(f"all {total} items were read", **shared)
            return
        listed = [f"{name}: {reason}" for name, reason in seen.unreadable[: self.LISTED]]
        yield self.failed(
            Level.ERROR if share > self.limits["error"] else Level.NOTE,
            f"{count} of {total} items could not be read, the first: {listed[0]}",
            evidence={"count": count, "items": listed},
            **shared,
        )
