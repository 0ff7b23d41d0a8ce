"""Embeddings that depend on more than their item."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Level

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class RepeatableEmbeddings(Check):
    """Whether an item gets the same embedding each time, and whatever else is in its batch.

    Measures: how far the embeddings of 16 items move when their batch is run again, and when they are run two by
    two, over how far they are apart from each other.
    Healthy: 0 but for rounding.
    Fails: above 5 % (warning). Then a similarity is partly chance, or depends on the company: an index built in
    batches and a query that comes alone do not fit together. 5 % of the typical distance changes few neighbours.
    Usual reasons: dropout or augmentation in eval mode; BatchNorm that uses the statistics of the batch;
    normalisation or softmax over the batch axis.
    """

    thresholds = {"warning": 0.05}
    HEALTHY = testing.repeatable
    COLLAPSED = testing.unrepeatable

    def run(self, seen: Observations) -> Iterator[Finding]:
        """The same batch again first: what is random depends on the batch too."""
        found = seen.repeatability
        if found is None or (math.isnan(found.again) and math.isnan(found.elsewhere)):
            yield self.skipped("no model was run" if found is None else "too few items to run again")
            return
        limit = self.limits["warning"]
        evidence = {"again": found.again, "elsewhere": found.elsewhere}
        if found.again > limit:
            yield self.failed(
                Level.WARNING,
                f"the same items get other embeddings each time: they move by {found.again:.0%} of their typical "
                "distance, so something in the model is random although it is in eval mode",
                value=found.again,
                threshold=limit,
                evidence=evidence,
            )
        elif found.elsewhere > limit:
            yield self.failed(
                Level.WARNING,
                f"the embedding of an item depends on what else is in its batch: it moves by {found.elsewhere:.0%} of "
                "the typical distance",
                value=found.elsewhere,
                threshold=limit,
                evidence=evidence,
            )
        else:
            value = found.again if math.isnan(found.elsewhere) else max(found.again, found.elsewhere)
            yield self.passed("the same each time, in any batch", value=value, threshold=limit, evidence=evidence)
