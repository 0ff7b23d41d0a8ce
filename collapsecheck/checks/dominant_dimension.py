"""One dimension, or one direction, that rules the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Kind, Level

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class DominantDimension(Check):
    """A single rogue dimension that decides every cosine.

    Measures: the share of the mean cosine that the largest dimension contributes, and the share of the
    variance that it holds.
    Healthy: a few per cent.
    Fails: above 50 % of a mean cosine of at least 0.3, or above 90 % of the variance (note). Language models
    commonly have one to three such dimensions and work (Timkey & van Schijndel 2021): standardise each
    dimension before comparing by cosine. A warning where the other dimensions, taken alone, have at least twice the
    effective rank: then that one drowns what they tell apart. (A network that tells two classes apart has no others.)
    """

    thresholds = {"cosine_share": 0.5, "cosine_minimum": 0.3, "variance_share": 0.9, "drowned": 2.0}
    HEALTHY = testing.power_law
    COLLAPSED = testing.rogue

    def run(self, seen: Observations) -> Iterator[Finding]:
        """Look at the cosine, then at the variance."""
        if seen.dimension < 4:
            yield self.skipped("fewer than 4 dimensions: one of them always dominates")
            return
        share = seen.measure("top_dimension_cosine_share").value
        variance = seen.measure("top_dimension_share").value
        if share > self.limits["cosine_share"] and seen.measure("mean_cosine").value > self.limits["cosine_minimum"]:
            yield self.failed(
                Level.NOTE,
                f"one dimension makes {share:.0%} of the mean cosine",
                value=share,
                threshold=self.limits["cosine_share"],
            )
        elif variance > self.limits["variance_share"]:
            beside = seen.measure("rank_beside_top_dimension")
            drowned = beside.value > self.limits["drowned"] * (beside.null or beside.value)
            yield self.failed(
                Level.WARNING if drowned else Level.NOTE,
                f"one dimension holds {variance:.0%} of the variance"
                + (f", and drowns the {beside.value:.0f} directions of the others" if drowned else ""),
                value=variance,
                threshold=self.limits["variance_share"],
                kind=Kind.DIMENSIONAL if drowned else None,
            )
        else:
            yield self.passed(
                f"the largest dimension holds {variance:.0%} of the variance",
                value=variance,
                threshold=self.limits["variance_share"],
            )
