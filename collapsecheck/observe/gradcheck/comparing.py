"""The gradient that a backward gives, next to finite differences of the forward, at one point."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from collapsecheck.observe.gradcheck.call import Made, Point, Replay
from collapsecheck.observe.gradcheck.numerical import NONE, Precision, Slope, slope
from collapsecheck.observe.gradcheck.points import chosen, direction, size_of, symmetric

ELEMENTS, OF_LAYERS, LARGE = (
    5,
    2,
    2**17,
)  # elements looked at in each argument; fewer of layers, and where a call is expensive
# A single entry may be off by this many times the tolerance of a sum over all entries.
OF_ENTRIES = 10
# A comparison tells something if it allows less than this share of the derivative, or of the outputs themselves.
TELLING, NOTHING = 0.5, 1e-3
FLOOR = 1e-9  # of the size of the outputs: rounding within the operation


@dataclass(frozen=True, slots=True)
class Entry:
    """Two numbers that should be one; without an index, for a random direction in all elements of an argument."""

    place: int
    index: int | None
    analytic: float
    numerical: Slope
    allowed: float
    telling: bool = False  # whether a gradient that is far off would show

    @property
    def off(self) -> float:
        """By how much they differ."""
        return abs(self.analytic - self.numerical.value)

    @property
    def known(self) -> bool:
        """Whether there is a derivative that can be told."""
        return self.numerical.known

    @property
    def wrong(self) -> bool:
        """Whether they differ by more than chance; a gradient that is no number is wrong where there is one."""
        return self.known and not self.off <= self.allowed


@dataclass(kw_only=True)
class Comparison:
    """Everything at one point.

    `weights` make one number of all outputs: φ = Σ w·y; its gradient is one backward pass.
    """

    replay: Replay
    point: Point
    precision: Precision
    weights: Sequence[Tensor]
    made: Made = field(init=False)
    here: float = field(init=False)
    size: float = field(init=False)

    def __post_init__(self) -> None:
        values = self.replay.values(self.point)
        self.here = self._sum(values)
        parts = [float((_finite(one.double()) * w.double()).square().sum()) for one, w in self._pairs(values)]
        self.size = math.sqrt(sum(parts))

    @cached_property
    def gradients(self) -> dict[int, Tensor | None]:
        """Of φ, by argument."""
        return self.replay.gradients(self.replay.run(self.point), self.weights)

    def gradient(self, place: int) -> Tensor:
        """Of φ, 0 where the backward gives none."""
        found = self.gradients[place]
        return torch.zeros_like(self.point[place], dtype=torch.float64) if found is None else found

    def phi(self, place: int, change: Tensor) -> float:
        """φ with something added to an argument; NaN where the operation fails."""
        try:
            return self._sum(self.replay.values({**self.point, place: self.point[place] + change}))
        except Exception:  # a step may leave what the operation is defined for
            return math.nan

    def along(self, place: int, seed: int) -> Entry:
        """A random direction in all elements of an argument."""
        return self._entry(place, direction(self.point[place], seed), None)

    def at(self, place: int, index: int) -> Entry:
        """One element."""
        return self._entry(place, self.unit(place, [index]), index)

    def unit(self, place: int, indices: Sequence[int]) -> Tensor:
        """A direction in some elements."""
        tensor = self.point[place]
        made = torch.zeros_like(tensor, memory_format=torch.contiguous_format)
        made.view(-1)[list(indices)] = 1
        return torch.maximum(made, made.mT) if symmetric(tensor) else made

    def elements(self, place: int, seed: int = 0) -> Iterator[Entry]:
        """A few elements."""
        large = sum(one.numel() for one in self.point.values()) > LARGE
        for index in chosen(
            self.point[place],
            self.gradients[place],
            OF_LAYERS if large or not self.replay.call.custom else ELEMENTS,
            seed,
        ):
            yield self.at(place, index)

    def worst_of(self, place: int, seed: int) -> Entry:
        """The element that a difference along a random direction comes from, by halving."""
        indices = torch.arange(self.point[place].numel())
        signs = direction(self.point[place], seed).view(-1)
        while len(indices) > 1:
            halves = indices.tensor_split(2)
            found = []
            for half in halves:
                way = torch.zeros_like(signs)
                way[half] = signs[half]
                found.append(self._entry(place, way.view_as(self.point[place]), None))
            left, right = ((one.off / one.allowed if one.known and one.allowed else 0.0) for one in found)
            indices = halves[0] if left >= right else halves[1]
        return self.at(place, int(indices[0]))

    def _entry(self, place: int, way: Tensor, index: int | None) -> Entry:
        tensor = self.point[place]
        gradient = self.gradient(place)
        step = float(size_of(tensor))
        analytic = step * float((gradient * way.double()).sum())
        rough = step * float(gradient.square().sum().sqrt())
        tolerance = self.precision.tolerance
        if index is not None:
            rough, tolerance = rough / math.sqrt(max(gradient.numel(), 1)), min(OF_ENTRIES * tolerance, 0.15)
        rough = rough if math.isfinite(rough) else 0.0
        wanted = 0.1 * tolerance * rough + FLOOR * self.size
        found = slope(
            lambda t: self.phi(place, t * step * way), self.here, self.size, self.precision, wanted=wanted
        ) if math.isfinite(self.here) else NONE  # fmt: skip
        value = abs(found.value) if found.known else 0.0
        scale = max(rough, value) if index is None else max(abs(analytic) if math.isfinite(analytic) else 0.0, value)
        least = 0.1 * tolerance * rough if index is not None else 0.0
        allowed = tolerance * scale + least + self.precision.certain * found.uncertainty + FLOOR * self.size
        seen = max(scale, abs(analytic) if math.isfinite(analytic) else 0.0)
        return Entry(
            place=place,
            index=index,
            analytic=analytic / step,
            numerical=Slope(found.value / step, found.uncertainty / step, found.kink),
            allowed=allowed / step,
            telling=found.known and (allowed <= TELLING * seen or allowed <= NOTHING * self.size),
        )

    def _pairs(self, values: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(values, self.weights, strict=True)

    def _sum(self, values: Sequence[Tensor]) -> float:
        total = 0.0
        for one, weight in self._pairs(values):
            if one.shape != weight.shape:
                return math.nan
            total += float(torch.where(weight != 0, one.double() * weight.double(), 0.0).sum())
        return total


def weights_for(values: Sequence[Tensor], seed: int) -> list[Tensor]:
    """Gaussian weights of the outputs, each output as large as the others; 0 where an output is no finite number."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for one in values:
        numbers = torch.randn(one.shape, generator=generator, dtype=torch.float64).to(one)
        finite = torch.isfinite(one)
        size = _finite(one).double().square().mean().sqrt()
        scale = torch.where(size > 0, 1 / size, torch.ones_like(size)).to(one)
        made.append(torch.where(finite, numbers * scale, 0.0))
    return made


def _finite(tensor: Tensor) -> Tensor:
    return torch.where(torch.isfinite(tensor), tensor, 0.0)
