"""The streaming metrics: each a function of the sums over raw rows and unit rows, with its null.

This is the one list of what is computed from sums; intervals, reports and `--require` all read it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from collapsecheck.statistics import cosine, jackknife, nulls, spectrum, spread
from collapsecheck.statistics.blocks import BlockedMoments
from collapsecheck.statistics.measurement import Measurement, around
from collapsecheck.statistics.moments import Array, Moments
from collapsecheck.statistics.neighbours import unit_rows


@dataclass(frozen=True)
class Cloud:
    """Sums over one set of rows, with the spectra computed once.

    `held` [n, D] are the rows themselves, given where they are all at hand and fewer than their dimensions: their
    spectrum then costs n³ instead of D³. `sketched` rows are folded to fewer dimensions, so that the unit rows
    are no longer of length 1.
    """

    raw: Moments
    unit: Moments
    held: Array | None = None
    sketched: bool = False

    @cached_property
    def raw_spectrum(self) -> Array:
        """Eigenvalues of the covariance of the rows as they are."""
        return spectrum.eigenvalues(self.raw) if self.held is None else spectrum.eigenvalues_of_rows(self.held)

    @cached_property
    def unit_spectrum(self) -> Array:
        """Eigenvalues of the covariance of the unit rows."""
        if self.held is None:
            return spectrum.eigenvalues(self.unit) if self.sketched else spectrum.unit_eigenvalues(self.unit)
        unit = unit_rows(self.held)
        return spectrum.unit_eigenvalues_of_rows(unit[np.any(unit != 0, axis=1)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One streaming metric: its formula, its range, and what isotropic rows would show for (n, D)."""

    of: Callable[[Cloud], float]
    null: Callable[[int, int], float] = lambda n, d: math.nan
    low: float = 0.0
    high: float = math.inf


METRICS: dict[str, Metric] = {
    "relative_spread": Metric(of=lambda c: spread.relative_spread(c.raw), null=lambda n, d: 1.0, high=1.0),
    "unit_spread": Metric(of=lambda c: spread.relative_spread(c.unit), null=lambda n, d: 1.0, high=1.0),
    "std_ratio": Metric(of=lambda c: spread.std_ratio(c.unit), null=lambda n, d: 1.0),
    "evenness": Metric(of=lambda c: spread.evenness(c.unit), null=lambda n, d: 1.0, high=1.0),
    "cosine_std": Metric(of=lambda c: cosine.cosine_std(c.unit), null=lambda n, d: nulls.cosine_std(d), high=1.0),
    "effective_rank": Metric(of=lambda c: spectrum.effective_rank(c.raw_spectrum), null=nulls.effective_rank, low=1.0),
    "unit_effective_rank": Metric(
        of=lambda c: spectrum.effective_rank(c.unit_spectrum), null=nulls.effective_rank, low=1.0
    ),
    "spectral_entropy_rank": Metric(
        of=lambda c: spectrum.spectral_entropy_rank(c.raw_spectrum), null=nulls.spectral_entropy_rank, low=1.0
    ),
    "participation_ratio": Metric(
        of=lambda c: spectrum.participation_ratio(c.raw), null=lambda n, d: float(d), low=1.0
    ),
    "unit_participation_ratio": Metric(
        of=lambda c: spectrum.participation_ratio(c.unit), null=lambda n, d: float(d), low=1.0
    ),
    "stable_rank": Metric(of=lambda c: spectrum.stable_rank(c.raw_spectrum), null=nulls.stable_rank, low=1.0),
    "dimensions_for_99": Metric(of=lambda c: spectrum.dimensions_for_99(c.raw_spectrum), low=1.0),
    "live_directions": Metric(
        of=lambda c: spectrum.live_directions(c.unit_spectrum), null=lambda n, d: float(min(n - 1, d)), low=1.0
    ),
    "top_direction_share": Metric(
        of=lambda c: spectrum.top_direction_share(c.raw_spectrum),
        null=lambda n, d: 1 / nulls.stable_rank(n, d),
        high=1.0,
    ),
}


def streaming_measurements(
    raw: BlockedMoments, unit: BlockedMoments, cloud: Cloud | None = None, *, jackknifed: bool = True
) -> dict[str, Measurement]:
    """All streaming metrics with 95 % intervals: closed form for the mean cosine, block jackknife for the rest.

    Without `jackknifed` only the former: the spectra of 16 left-out sets cost more than all else together.

    For rows wider than the blocks the jackknife runs on a count sketch, and its relative width is carried over
    to the exact value. `cloud` holds the totals of both, if they are at hand already.
    """
    cloud = cloud or Cloud(raw.total, unit.total)
    n, dimension = cloud.raw.n, raw.dimension
    found = _cosines(cloud.unit)
    folded = cloud if raw.whole is None else Cloud(raw.folded, unit.folded, sketched=True)
    left_out: list[Cloud] = []
    if jackknifed:
        without = zip(raw.left_out(), unit.left_out() or [unit.total] * len(raw.blocks), strict=True)
        left_out = [
            Cloud(*pair, sketched=raw.whole is not None) for pair in without if pair[0].n < folded.raw.n
        ]  # an empty block leaves nothing out
    sizes = [folded.raw.n - part.raw.n for part in left_out]
    for name, metric in METRICS.items():
        value = metric.of(cloud)
        null = metric.null(n, dimension) if n > 1 else math.nan
        known_null = null if math.isfinite(null) else None
        if not jackknifed:
            found[name] = Measurement(value=value, null=known_null)
            continue
        reference = value if folded is cloud else metric.of(folded)
        half = jackknife.half_width(reference, [metric.of(part) for part in left_out], sizes)
        if folded is not cloud and reference != 0:
            half *= value / reference
        found[name] = Measurement(value=value, interval=around(value, half, metric.low, metric.high), null=known_null)
    return found


def _cosines(unit: Moments) -> dict[str, Measurement]:
    half = 1.96 * cosine.mean_cosine_standard_error(unit)
    gap = cosine.mean_cosine_gap(unit)
    return {
        "mean_cosine": Measurement(value=1 - gap, interval=around(1 - gap, half, -1.0, 1.0), null=0.0),
        "mean_cosine_gap": Measurement(value=gap, interval=around(gap, half, 0.0, 2.0), null=1.0),
    }
