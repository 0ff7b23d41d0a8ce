"""Why a gradient may differ from the derivative on purpose."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from collapsecheck.observe.gradcheck.call import Point, Replay
from collapsecheck.observe.gradcheck.comparing import Comparison, Entry
from collapsecheck.observe.gradcheck.numerical import DOUBLE, HALF
from collapsecheck.observe.gradcheck.points import direction, size_of
from collapsecheck.observe.gradcheck.random_state import begin_at

DRAWN = 24  # elements looked at to tell a step function
LITTLE = 0.3  # a derivative below this share of the gradient counts as none
FEW = 0.25  # share of the elements that may have one in a quantiser, whose scale follows the largest
DRAWS = 64  # of a backward that is random
LINEAR = 1e-5
TINY = 1e-4  # of a gradient that no clipping reaches


def passes_on(comparison: Comparison) -> bool:
    """Whether the forward hands on what it gets: then only the backward can be what it is for."""
    return all(_identical(comparison.replay, point) for point in (comparison.point, _explored(comparison.point)))


def _identical(replay: Replay, point: Point) -> bool:
    try:
        made = replay.run(point)
    except Exception:  # the explored numbers need not be ones that it is defined for
        return True
    begin = [point[place] for place in point]
    begin += [one for place, one in enumerate(replay.arguments) if place not in point and isinstance(one, Tensor)]
    flat = [one.detach().to(made.outputs[0].dtype).flatten() for one in begin if not one.is_complex()]
    return all(any(torch.equal(one.detach().flatten(), other) for other in flat) for one in made.outputs)


def is_step(comparison: Comparison, place: int) -> bool:
    """Whether nothing in an argument matters while the backward passes something on: a straight-through estimator."""
    if comparison.precision is HALF or not bool((comparison.gradient(place) != 0).any()):
        return False
    points = (comparison.point, {**comparison.point, place: _explored(comparison.point)[place]})
    exact = comparison.precision is DOUBLE  # elsewhere a move may be lost to rounding
    if exact and all(_constant(comparison.replay, point, place) for point in points):
        return True
    return _nearly_step(comparison, place)


def _constant(replay: Replay, point: Point, place: int) -> bool:
    tensor = point[place]
    step = 1e-9 * size_of(tensor) * direction(tensor, 3)
    try:
        here, there = replay.values(point), replay.values({**point, place: tensor + step})
    except Exception:  # as above
        return True
    return all(torch.equal(torch.nan_to_num(one), torch.nan_to_num(other)) for one, other in zip(here, there))  # noqa: B905


def _nearly_step(comparison: Comparison, place: int) -> bool:
    """Hardly any element matters although most get a gradient, and the forward jumps: its scale follows the input."""
    numel = comparison.point[place].numel()
    drawn = torch.randperm(numel, generator=torch.Generator().manual_seed(5))[:DRAWN].tolist()
    entries = [comparison.at(place, index) for index in drawn]
    given = [one for one in entries if one.known and abs(one.analytic) > 0]
    matter = [
        one
        for one in entries
        if one.known and abs(one.numerical.value) > LITTLE * max(abs(one.analytic), _typical(given))
    ]
    factors = [one.numerical.value / one.analytic for one in given]
    if factors and max(factors) - min(factors) < 0.05 * max(map(abs, factors)):
        return False  # a gradient that is too large everywhere
    if len(given) < 4 or len(given) < len(entries) / 2 or len(matter) > FEW * len(given):
        return False
    return _jumps(comparison, place)


def _typical(entries: Sequence[Entry]) -> float:
    sizes = sorted(abs(one.analytic) for one in entries)
    return sizes[len(sizes) // 2] if sizes else 0.0


def _jumps(comparison: Comparison, place: int) -> bool:
    """Whether φ is not continuous along a line as long as the numbers are large."""
    tensor = comparison.point[place]
    way = float(size_of(tensor)) * direction(tensor, 4)
    grid = [t / 32 for t in range(33)]
    values = [comparison.phi(place, t * way) for t in grid]
    gaps = [abs(b - a) if math.isfinite(b - a) else 0.0 for a, b in pairwise(values)]
    widest = max(range(32), key=gaps.__getitem__)
    low, high, first, last = grid[widest], grid[widest + 1], values[widest], values[widest + 1]
    if gaps[widest] == 0:
        return False
    for _ in range(30):
        middle = (low + high) / 2
        value = comparison.phi(place, middle * way)
        if not math.isfinite(value):
            return False
        if abs(value - first) >= abs(last - value):
            high, last = middle, value
        else:
            low, first = middle, value
    return abs(last - first) > 0.02 * gaps[widest]


def not_linear(comparison: Comparison, entries: Sequence[Entry], judge: Callable[[Comparison], bool]) -> bool:
    """Whether the backward treats gradients differently by size or sign, and is right for some: it clips them.

    The gradient of an operation is linear in the gradient it is given. `judge` tells whether a comparison is right,
    `entries` are some that are not: what holds gradients of one sign back turns none around.
    """
    weights = list(comparison.weights)
    if _linear(comparison, weights):
        return False
    tried = [[TINY * one for one in weights]]
    if not any(one.analytic * one.numerical.value < 0 for one in entries if one.index is not None and one.wrong):
        tried += [[one.abs() for one in weights], [-one.abs() for one in weights]]
    replay, point, precision = comparison.replay, comparison.point, comparison.precision
    return any(judge(Comparison(replay=replay, point=point, precision=precision, weights=other)) for other in tried)


def _linear(comparison: Comparison, weights: Sequence[Tensor]) -> bool:
    replay, point = comparison.replay, comparison.point
    for factor in (-1.0, TINY):
        found = replay.gradients(replay.run(point), [factor * one for one in weights])
        for place, gradient in found.items():
            expected = factor * comparison.gradient(place)
            given = torch.zeros_like(expected) if gradient is None else gradient
            share = max(LINEAR, 4 * comparison.precision.rounding)
            if float((given - expected).abs().max()) > share * float(expected.abs().max()):
                return False
    return True


def draws(comparison: Comparison, entries: Sequence[Entry]) -> bool | None:
    """Whether the backward draws random numbers of its own, and is right on average; None if it draws none."""
    replay, point, weights = comparison.replay, comparison.point, list(comparison.weights)
    places = [one for one in entries if one.index is not None]
    found: list[list[float]] = []
    for seed in range(1, DRAWS + 1):
        made = replay.run(point)
        begin_at(seed)
        gradients = replay.gradients(made, weights)
        row = []
        for one in places:
            gradient = gradients[one.place]
            row.append(0.0 if gradient is None else float(gradient.flatten()[one.index or 0]))
        found.append(row)
        if seed == 4 and all(row == found[0] for row in found):
            return None
    drawn = torch.tensor(found, dtype=torch.float64)
    mean, error = drawn.mean(0), drawn.std(0) / math.sqrt(DRAWS)
    real = torch.tensor([one.numerical.value for one in places], dtype=torch.float64)
    allowed = torch.tensor([one.allowed for one in places], dtype=torch.float64)
    return bool(((mean - real).abs() <= 5 * error + allowed).all())


def _explored(point: Point) -> Point:
    """Numbers of both signs, some of them much larger: what is only true of the recorded ones is not true there."""
    generator = torch.Generator().manual_seed(6)
    return {
        place: 3 * size_of(one) * torch.randn(one.shape, generator=generator, dtype=torch.float64).to(one)
        for place, one in point.items()
    }
