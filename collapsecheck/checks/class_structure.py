"""What the labels say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Level

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class ClassStructure(Check):
    """Whether the embeddings follow the labels, and whether they know anything else.

    Measures: the share of the variance between classes (η², 0 to 1, by chance (C−1)/(n−1)), the accuracy of the
    nearest class centre, and that of five nearest neighbours; chance is the share of the largest class.
    Healthy: accuracies well above chance.
    Fails (note): η² above 0.8 with accuracies of at least 0.95 is neural collapse (Papyan, Han & Donoho 2020),
    the expected end of classifier training: perfect for the classes it was trained on, weak for anything else.
    Also a note: neighbours no better than chance while the labels are learnable; the labels may simply not be
    what the model was trained for.
    """

    thresholds = {"between_share": 0.8, "accuracy": 0.95}
    HEALTHY = testing.power_law
    COLLAPSED = testing.classified

    def run(self, seen: Observations) -> Iterator[Finding]:
        """Name neural collapse, and embeddings at chance."""
        if seen.sample.labels is None:
            yield self.skipped("there are no labels")
            return
        share = seen.measure("between_class_share")
        accuracy = seen.measure("neighbour_accuracy")
        evidence = {"neighbour_accuracy": accuracy.value, "chance": accuracy.null, "classes": seen.classes}
        shared = {"value": share.value, "threshold": self.limits["between_share"], "evidence": evidence}
        if share.value > self.limits["between_share"] and seen.separates_classes:
            yield self.failed(
                Level.NOTE,
                f"neural collapse: {share.value:.0%} of the variance lies between the {seen.classes} classes, "
                "as expected of a trained classifier",
                **shared,
            )
        elif accuracy.low <= (accuracy.null or 0) and seen.rows >= 10 * seen.classes:
            yield self.failed(
                Level.NOTE,
                f"neighbours share a label no more often than by chance ({accuracy.value:.0%})",
                **shared,
            )
        else:
            yield self.passed(
                f"{accuracy.value:.0%} of the items are named by their neighbours (chance {accuracy.null:.0%})",
                **shared,
            )
