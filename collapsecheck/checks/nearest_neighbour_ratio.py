"""Tight groups of embeddings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Kind, Level
from collapsecheck.observe import NotObservable

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class NearestNeighbourRatio(Check):
    """Whether items sit on a handful of tight points instead of filling space.

    Measures: the share of rows whose nearest neighbour is practically on top of them (closer than a
    ten-thousandth of the typical distance), and the median nearest-neighbour distance over the median pair
    distance, on a sample of up to 2048 unit rows.
    Healthy: about n^(−1/rank); 0.1 to 0.9.
    Fails (error): more than half of the rows practically coincide with another although their inputs do not.
    Fails (warning): the ratio is less than half of what a continuous cloud of that rank shows, and 90 % of the
    rows form tight groups, fewer than a tenth as many as there are rows, that the labels do not explain. Without
    labels such groups may be the classes of a classifier: then only fewer groups than a hundredth of the rows
    are a warning, and more are a note.
    Not held against the model: near-duplicate inputs; groups that are the classes (neural collapse, a note).
    Usual reasons: a classifier's last layer, quantisation, saturation, too few prototypes.
    """

    thresholds = {
        "same_error": 0.5,
        "ratio_of_null": 0.5,
        "grouped_share": 0.9,
        "rows_per_group": 10.0,
        "rows_per_group_unlabelled": 100.0,
    }
    HEALTHY = testing.power_law

    @staticmethod
    def COLLAPSED() -> Observations:  # noqa: N802 - the contract's name
        """Five points with a little noise, unrelated to the inputs."""
        return testing.few_points(noise=1e-6)

    def run(self, seen: Observations) -> Iterator[Finding]:
        """Practical duplicates first, then tight groups."""
        if seen.rows < 32 or seen.dimension < 2:
            yield self.skipped("at least 32 embeddings of 2 dimensions are needed")
            return
        if seen.measure("unit_spread").value <= 6 * seen.rounding_floor:
            yield self.skipped("the embeddings are numerically constant: their distances are rounding")
            return
        same = seen.measure("same_share").value
        ratio = seen.measurements["nearest_neighbour_ratio"]
        evidence: dict[str, Any] = {"same_share": same, "ratio": ratio.value, "null": ratio.null}
        of_inputs = self._input_same_share(seen)
        if same - of_inputs > self.limits["same_error"]:
            groups = seen.measure("tight_groups").value
            yield self.failed(
                Level.NOTE if seen.separates_classes else Level.ERROR,
                f"{same:.0%} of the embeddings practically coincide with another ({groups:.0f} groups)",
                value=same,
                threshold=self.limits["same_error"],
                kind=None if seen.separates_classes else Kind.CLUSTER,
                evidence=evidence,
            )
            return
        share, groups = self._grouped(seen)
        evidence |= {"grouped_share": share, "groups": groups}
        tight = (
            ratio.known
            and ratio.value < self.limits["ratio_of_null"] * (ratio.null or 0)
            and share >= self.limits["grouped_share"]
            and groups * self.limits["rows_per_group"] <= seen.rows
        )
        if tight and of_inputs < self.limits["same_error"]:
            level, reason = self._meaning(seen, groups)
            yield self.failed(
                level,
                f"the embeddings sit in {groups} tight groups, {reason}",
                value=ratio.value,
                threshold=self.limits["ratio_of_null"] * (ratio.null or 0),
                kind=None if level is Level.NOTE else Kind.CLUSTER,
                evidence=evidence,
            )
        else:
            yield self.passed(
                f"nearest neighbours are at {ratio.value:.2f} of the typical distance",
                value=ratio.value,
                threshold=self.limits["ratio_of_null"] * (ratio.null or 0),
                evidence=evidence,
            )

    def _meaning(self, seen: Observations, groups: int) -> tuple[Level, str]:
        if seen.separates_classes:
            return Level.NOTE, "which are the classes"
        if seen.sample.known_labels is not None:
            return Level.WARNING, "which are not the classes"
        few = groups * self.limits["rows_per_group_unlabelled"] <= seen.rows
        return Level.WARNING if few else Level.NOTE, "which is expected of a classifier if they are its classes"

    @staticmethod
    def _input_same_share(seen: Observations) -> float:
        try:
            share = seen.input_sample.same_share
        except NotObservable:
            return 0.0
        return 0.0 if math.isnan(share) else share  # NaN: fewer than three inputs, or all equal

    @staticmethod
    def _grouped(seen: Observations) -> tuple[float, int]:
        """Share of the sampled rows in groups of at least three, and the number of those groups."""
        sizes = [size for size in Counter(seen.sample.groups.tolist()).values() if size >= 3]
        return sum(sizes) / max(len(seen.sample.groups), 1), len(sizes)
