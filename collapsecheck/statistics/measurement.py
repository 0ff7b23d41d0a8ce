"""A number with its interval and with what chance alone would show."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One metric of one cloud of embeddings.

    Attributes
    ----------
    value : the number; NaN when undetermined.
    interval : 95 % interval, or None where the value is exact or no interval is known.
    null : what isotropic rows of the same number and dimension would show, or None.
    """

    value: float
    interval: tuple[float, float] | None = None
    null: float | None = None

    @property
    def known(self) -> bool:
        """Whether there is a value at all."""
        return math.isfinite(self.value)

    @property
    def low(self) -> float:
        """Lower end of the interval (the value itself where there is none)."""
        return self.interval[0] if self.interval else self.value

    @property
    def high(self) -> float:
        """Upper end of the interval (the value itself where there is none)."""
        return self.interval[1] if self.interval else self.value

    @property
    def share(self) -> float:
        """Value over null."""
        return self.value / self.null if self.null else math.nan

    def below(self, threshold: float) -> bool:
        """The value, and all of its interval, lies below the threshold."""
        return self.value < threshold and self.high < threshold

    def above(self, threshold: float) -> bool:
        """The value, and all of its interval, lies above the threshold."""
        return self.value > threshold and self.low > threshold

    def straddles(self, threshold: float) -> bool:
        """The interval reaches across the threshold: too close to call."""
        return self.interval is not None and self.interval[0] <= threshold <= self.interval[1]

    def near(self, threshold: float) -> bool:
        """Another sample of the same size may well land on the other side: twice the interval reaches across."""
        if self.interval is None:
            return False
        reach = self.interval[1] - self.interval[0]
        return abs(self.value - threshold) <= reach


def around(
    value: float, half_width: float, low: float = -math.inf, high: float = math.inf
) -> tuple[float, float] | None:
    """Interval value ± half_width, cut to the metric's range; None when the half width is not known."""
    if not math.isfinite(half_width) or not math.isfinite(value):
        return None
    return (max(value - half_width, low), min(value + half_width, high))
