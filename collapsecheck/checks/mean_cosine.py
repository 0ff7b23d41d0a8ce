"""A common direction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Kind, Level

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class MeanCosine(Check):
    """Whether raw cosine similarity can be used, or a common direction drowns the differences.

    Measures: the mean cosine similarity over all pairs, exactly, without forming pairs.
    Healthy: anything up to 0.9. High values alone are no fault: features after a ReLU have 0.3 to 0.9,
    working networks up to 0.97.
    Fails: above 0.98, or above 0.9 when the cosines of all pairs lie within a hair (standard deviation below
    0.015) (warning). Then every pair looks alike, although the differences may be intact: subtract the mean
    embedding before comparing.
    Usual reasons: a large bias in the last layer, targets with a common offset, untrained or very deep networks
    without normalisation, language models (anisotropy, Ethayarajh 2019).
    """

    thresholds = {"warning": 0.98, "compressed": 0.9, "compressed_std": 0.015, "note": 0.9}
    HEALTHY = testing.rectified
    COLLAPSED = testing.cone

    def run(self, seen: Observations) -> Iterator[Finding]:
        """Judge the level of the mean together with the width of the distribution."""
        if seen.dimension < 2:
            yield self.skipped("every cosine is 1 or -1 in one dimension")
            return
        mean, deviation = seen.measure("mean_cosine"), seen.measure("cosine_std")
        evidence = {"cosine_std": deviation.value, "one_minus_mean": seen.measure("mean_cosine_gap").value}
        shared = {"value": mean.value, "interval": mean.interval, "evidence": evidence}
        cone, compressed = self.limits["warning"], self.limits["compressed"]
        narrow = deviation.below(self.limits["compressed_std"])
        if mean.above(cone) or (mean.above(compressed) and narrow):
            yield self.failed(
                Level.WARNING,
                f"all pairs have nearly the same cosine, {mean.value:.4f} ± {deviation.value:.2g}: "
                "a direction common to all embeddings drowns their differences",
                threshold=cone if mean.above(cone) else compressed,
                kind=Kind.CONE,
                borderline=mean.near(cone) and not narrow,
                **shared,
            )
        elif mean.value > self.limits["note"]:
            yield self.failed(
                Level.NOTE,
                f"cosines are high ({mean.value:.3f} on average) but differ from pair to pair: rank by cosine, "
                "set no absolute threshold",
                threshold=self.limits["note"],
                borderline=mean.near(cone) or deviation.near(self.limits["compressed_std"]),
                **shared,
            )
        else:
            yield self.passed(f"mean cosine {mean.value:.3f}", threshold=self.limits["note"], **shared)
