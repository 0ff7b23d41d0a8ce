"""Dimensional collapse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Kind, Level

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


class EffectiveRank(Check):
    """How many directions the embeddings really use.

    Measures: the effective rank of the centred unit rows, exp of the entropy of their singular values (Roy &
    Vetterli 2007), against the rank of isotropic rows of the same number and dimension (the null).
    Healthy: no fixed share of the dimension. Small networks trained on ten classes have 7 to 13 of 64, since a
    decaying spectrum is what training makes; rank faults have 1 to 3.
    Fails (error): below 3 (or a third of the null, if that is less), with more than half of the directions holding
    less than a thousandth of the largest deviation: two or three directions are left, and the rest is gone.
    Also below 3 % of the null when 90 % of the directions are gone: no trained spectrum ends so abruptly.
    Fails (warning): below 3 with a soft spectrum, where the weak directions still hold something; below 10 % of
    the null when 90 % are gone. A soft spectrum below 10 % of the null, but above 3, is a note.
    Not held against the model: inputs whose own rank is as low; classes that explain it (neural collapse leaves
    C − 1 directions; without labels, as many tight groups as explain it); fewer than 32 rows; fewer than 4
    dimensions; embeddings that are numerically constant.
    Usual reasons: a bottleneck or rank-one projection, an objective without repulsion, constant initialisation,
    unmasked padding (Hua 2021, Jing 2022).
    """

    thresholds = {
        "rank_error": 3.0,
        "share_error": 0.03,
        "share_warning": 0.10,
        "hard_cut": 0.1,
        "soft_spectrum": 0.5,
        "minimum_rows": 32.0,
        "input_ratio": 1.5,
    }
    # Classes explain a rank when they hold half of the variance, and most of the C − 1 directions they need are used.
    CLASS_SHARE = 0.5
    CLASS_DIRECTIONS = 0.7
    TWO_GROUPS = 1.8  # a lopsided pair of groups counts as a little less than two

    HEALTHY = testing.power_law
    COLLAPSED = testing.low_rank

    def run(self, seen: Observations) -> Iterator[Finding]:
        """Compare with the null, then look for reasons that are not a fault."""
        if seen.rows < self.limits["minimum_rows"] or seen.dimension < 4:
            yield self.skipped(
                f"{seen.rows} rows in {seen.dimension} dimensions are too few to judge a rank "
                f"(at least {self.limits['minimum_rows']:.0f} rows and 4 dimensions)"
            )
            return
        if seen.measure("unit_spread").value <= 3 * seen.rounding_floor:
            yield self.skipped("the embeddings are numerically constant: their rank would describe rounding")
            return
        rank = seen.measure("unit_effective_rank")
        ceiling = rank.null or float("nan")
        live = seen.measure("live_directions")
        hard = live.share < self.limits["hard_cut"]
        evidence: dict[str, Any] = {
            "share_of_null": rank.share,
            "live_directions": live.value,
            "participation_ratio": seen.measurements["unit_participation_ratio"].value,
        }
        low = min(self.limits["rank_error"], ceiling / 3)
        error = max(low, self.limits["share_error"] * ceiling if hard else 0.0)
        warning = max(error, self.limits["share_warning"] * ceiling if hard else 0.0)
        soft = self.limits["share_warning"] * ceiling
        shared = {"value": rank.value, "interval": rank.interval}
        message = f"the embeddings use about {rank.value:.1f} directions of {ceiling:.0f} possible"
        if not rank.value < max(warning, soft):
            borderline = rank.near(warning)
            yield self.passed(message, threshold=warning, borderline=borderline, evidence=evidence, **shared)
            return
        excuse = self._excuse(seen, rank.value, evidence)
        level = Level.NOTE
        if excuse:
            message += f", {excuse}"
        elif rank.below(error) and live.share < self.limits["soft_spectrum"]:
            level = Level.ERROR
        elif rank.below(warning) or rank.straddles(error):
            level = Level.WARNING
        yield self.failed(
            level,
            message,
            threshold=error if level is Level.ERROR else max(warning, soft),
            kind=None if level is Level.NOTE else Kind.DIMENSIONAL,
            borderline=not excuse and (rank.near(error) or (level is not Level.ERROR and rank.near(warning))),
            evidence=evidence,
            **shared,
        )

    def _excuse(self, seen: Observations, rank: float, evidence: dict[str, Any]) -> str:
        """Why the low rank is not the model's fault, or an empty string."""
        inputs = seen.measurements.get("input_effective_rank")
        if inputs is not None:
            evidence["input_effective_rank"] = inputs.value
            if inputs.value < self.limits["input_ratio"] * rank:
                return f"no fewer than the data themselves ({inputs.value:.1f})"
        if seen.sample.known_labels is not None:
            if seen.tells_classes_apart(self.CLASS_SHARE) and rank >= self.CLASS_DIRECTIONS * (seen.classes - 1):
                return f"which is what {seen.classes} well separated classes need"
        else:
            evidence["groups"] = groups = seen.sample.group_number
            if groups >= self.TWO_GROUPS and rank >= self.CLASS_DIRECTIONS * (groups - 1):
                return f"which is what about {groups:.0f} tight groups need"
        return ""
