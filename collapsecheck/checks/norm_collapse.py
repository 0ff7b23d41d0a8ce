"""Vanishing length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Kind, Level
from collapsecheck.statistics.jackknife import wilson

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class NormCollapse(Check):
    """Embeddings whose length has vanished, in which case cosine similarity is made of guards and rounding.

    Measures: the share of all-zero rows, and the median Euclidean norm.
    Healthy: no zero rows; norms of 0.01 to 1000, whatever the scale the model was trained to.
    Fails: more than 20 % zero rows (error; more than 1 %: warning; the lower end of Wilson's interval counts, as a
    single zero row of few may be chance), or a median norm below 1e-6 (error; below
    1e-4: warning) unless the inputs are as small. `torch.nn.functional.pairwise_distance`, and with it every
    triplet loss, adds 1e-6 to each difference, `cosine_similarity` clamps norms at 1e-8 and `normalize` at
    1e-12: below those the guards, not the embeddings, are compared. The mean cosine of such rows is near 0 and
    looks perfect, which is why this question comes first.
    Usual reasons: weight decay that outweighs the loss, a zeroed or vanishing last layer, dead ReLU.
    """

    thresholds = {"zero_share_error": 0.2, "zero_share_warning": 0.01, "norm_error": 1e-6, "norm_warning": 1e-4}
    HEALTHY = testing.power_law
    COLLAPSED = testing.scaled

    # Embeddings no more than this much shorter than their inputs are as small as the data, not collapsed.
    INPUT_RATIO = 1e-3

    def run(self, seen: Observations) -> Iterator[Finding]:
        """Zero rows first, then the median norm."""
        zeros = seen.embeddings.zero_rows / max(seen.rows, 1)
        norm = seen.measure("norm_median")
        for level, limit in ((Level.ERROR, "zero_share_error"), (Level.WARNING, "zero_share_warning")):
            if wilson(seen.embeddings.zero_rows, seen.rows)[0] > self.limits[limit]:
                yield self.failed(
                    level,
                    f"{seen.embeddings.zero_rows} of {seen.rows} embeddings are exactly zero",
                    value=zeros,
                    threshold=self.limits[limit],
                    kind=Kind.NORM,
                )
                return
        inputs = seen.measurements.get("input_norm_median")
        as_small_as_inputs = inputs is not None and norm.value > self.INPUT_RATIO * inputs.value
        for level, limit in ((Level.ERROR, "norm_error"), (Level.WARNING, "norm_warning")):
            if norm.value < self.limits[limit] and not as_small_as_inputs:
                yield self.failed(
                    level,
                    f"the embeddings are almost zero: their median length is {norm.value:.2g}",
                    value=norm.value,
                    threshold=self.limits[limit],
                    kind=Kind.NORM,
                )
                return
        yield self.passed(f"median length {norm.value:.3g}", value=norm.value, threshold=self.limits["norm_warning"])
