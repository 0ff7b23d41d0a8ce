"""Derivatives by finite differences that know how exact they are.

A difference over one step tells nothing of its own error. Over several steps, the truncation shows in how much two of
them differ, rounding in the size of the values, and a kink in that the left and the right difference stay apart
however small the step (compare Ridders 1982, "Accurate computation of F'(x) and F'(x)F''(x)").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """In what an operation computes.

    Parameters
    ----------
    rounding : relative.
    steps : relative to the size of what is varied, those tried first; `more` where these do not agree.
    tolerance : share of a derivative by which it may be off.
    certain : so many uncertainties make a difference.
    """

    name: str
    rounding: float
    steps: tuple[float, ...]
    more: tuple[float, ...]
    tolerance: float
    certain: float = 10


DOUBLE = Precision(
    name="double", rounding=2.3e-16, steps=(1e-4, 1e-5), more=(1e-2, 1e-3, 1e-6, 1e-7, 1e-8), tolerance=1e-4
)
SINGLE = Precision(name="single", rounding=1.2e-7, steps=(1e-2, 3e-3, 1e-3), more=(0.1, 3e-2, 3e-4), tolerance=5e-3)
HALF = Precision(name="half", rounding=1e-3, steps=(0.3, 0.1, 0.05), more=(), tolerance=0.15, certain=3)


@dataclass(frozen=True, slots=True)
class Slope:
    """A derivative; its uncertainty is infinite where there is none."""

    value: float
    uncertainty: float
    kink: bool = False

    @property
    def known(self) -> bool:
        """Whether there is a derivative at all."""
        return math.isfinite(self.value) and math.isfinite(self.uncertainty) and not self.kink


NONE = Slope(math.nan, math.inf)


def slope(
    along: Callable[[float], float], here: float, size: float, precision: Precision, *, wanted: float = math.inf
) -> Slope:
    """Derivative at 0 of a function of one number.

    Parameters
    ----------
    along : the function; steps are relative to what is natural for its argument.
    here : its value at 0.
    size : of the numbers that it is a sum of, for the rounding.
    wanted : an uncertainty that is small enough; more steps are tried only for a larger one.
    """
    first = _over(along, here, size, precision, precision.steps)
    if (first.known and first.uncertainty <= wanted) or first.kink:
        return first
    second = _over(along, here, size, precision, sorted((*precision.steps, *precision.more), reverse=True))
    return second if second.kink or second.uncertainty < first.uncertainty else first


def _over(
    along: Callable[[float], float], here: float, size: float, precision: Precision, steps: Sequence[float]
) -> Slope:
    central, apart = [], []
    for step in steps:
        right, left = along(step), along(-step)
        central.append((right - left) / (2 * step))
        apart.append(abs((right - here) - (here - left)) / step)
    noise = [4 * precision.rounding * max(size, abs(here)) / step for step in steps]
    best = NONE
    for place in range(1, len(steps)):
        one, other = central[place - 1], central[place]
        if not (math.isfinite(one) and math.isfinite(other)):
            continue
        # The larger step of the two has less rounding, the smaller one less truncation.
        value, error = (other, noise[place]) if noise[place] <= abs(one - other) else (one, noise[place - 1])
        found = Slope(value, error + abs(one - other))
        if found.uncertainty < best.uncertainty:
            best = Slope(found.value, found.uncertainty, kink=_kinked(apart, noise, place, value))
    return best


def _kinked(apart: Sequence[float], noise: Sequence[float], place: int, value: float) -> bool:
    """Whether left and right differ by what does not shrink with the step."""
    floor = 20 * noise[place] + 1e-3 * abs(value)
    return apart[place] > floor and apart[place] > 0.5 * apart[place - 1]
