"""One call of an operation, made again with fresh copies of what it was given, in double precision where it can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from collapsecheck.observe.gradcheck.random_state import begin_at

Point = dict[int, Tensor]
"""Real numbers of the arguments that are varied, by their place; complex ones with a last axis of two."""

WIDE = {torch.complex32: torch.complex128, torch.complex64: torch.complex128, torch.complex128: torch.complex128}


class NoGradient(Exception):  # noqa: N818 - it is an answer, not an error
    """There is no output that a gradient could come from."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """What was recorded.

    Parameters
    ----------
    apply : calls the operation with such arguments.
    arguments : detached copies of what it was given.
    varied : the places of arguments whose gradient is asked for; True where the training depends on it, False where
        nobody would miss it (what comes of the data alone, or of weights that may be frozen).
    names : of the arguments, for messages.
    """

    apply: Callable[..., Any]
    function: str
    module: str
    arguments: tuple[Any, ...]
    varied: Mapping[int, bool]
    names: Sequence[str] = ()
    depth: int = 0
    untouched: frozenset[int] = frozenset()  # places of large tensors that are surely not changed in place
    custom: bool = True  # else a layer, whose gradient is wrong only if something within is:
    calls_custom: bool = False

    def name(self, place: int) -> str:
        """An argument for people."""
        return self.names[place] if place < len(self.names) else f"argument {place}"


@dataclass(frozen=True, slots=True)
class Made:
    """One forward pass: the leaves it starts from, the arguments as they were passed, and what came out of it."""

    leaves: Point
    passed: Point
    outputs: tuple[Tensor, ...]  # real, differentiable
    returned: tuple[Any, ...]


@dataclass(kw_only=True)
class Replay:
    """A call that can be made again at any point.

    Parameters
    ----------
    double : whether numbers are widened to float64; otherwise they stay as they were.
    """

    call: Call
    double: bool = True
    arguments: list[Any] = field(init=False)
    here: Point = field(init=False)

    def __post_init__(self) -> None:
        self.arguments = [self._wide(one) for one in self.call.arguments]
        exact = {place: real(self.arguments[place]) for place in self.call.varied}
        self.here = {place: one if one.device.type == "mps" else one.double() for place, one in exact.items()}

    def run(self, point: Point, seed: int = 0) -> Made:
        """Call it once; raises what it raises, and NoGradient where no output depends on anything."""
        begin_at(seed)
        leaves, passed = {}, {}
        arguments = [fresh(one) if place not in point else None for place, one in enumerate(self.arguments)]
        with torch.enable_grad():
            for place, numbers in point.items():
                leaves[place] = numbers.detach().requires_grad_()
                if place in self.call.untouched and numbers.dtype == self.arguments[place].dtype:
                    passed[place] = arguments[place] = leaves[place]
                    continue
                # Not the leaf itself, which must not be changed in place.
                whole = torch.view_as_complex(leaves[place]) if self.arguments[place].is_complex() else leaves[place]
                kind = self.arguments[place].dtype
                passed[place] = arguments[place] = whole.clone() if whole.dtype == kind else whole.to(kind)
            given = self.call.apply(*arguments)
        returned = tuple(flat(given))
        outputs = tuple(real(one) for one in returned if isinstance(one, Tensor) and differentiable(one))
        if not outputs:
            raise NoGradient
        return Made(leaves, passed, outputs, returned)

    def values(self, point: Point) -> tuple[Tensor, ...]:
        """What comes out."""
        return tuple(one.detach() for one in self.run(point).outputs)

    def gradients(self, made: Made, weights: Sequence[Tensor], *, retain: bool = False) -> dict[int, Tensor | None]:
        """Gradients of the outputs, weighted; None where the backward gives none."""
        places = list(made.leaves)
        found = torch.autograd.grad(
            made.outputs,
            [made.leaves[place] for place in places],
            grad_outputs=list(weights),
            retain_graph=retain,
            allow_unused=True,
        )
        return {place: None if one is None else _own(one) for place, one in zip(places, found, strict=True)}

    def _wide(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            there = value.cpu() if value.device.type == "mps" and self.double else value
            if not self.double:
                return there
            return there.double() if there.is_floating_point() else there.to(WIDE.get(there.dtype, there.dtype))
        if isinstance(value, list | tuple) and type(value) in (list, tuple):
            return type(value)(self._wide(one) for one in value)
        if type(value) is dict:
            return {name: self._wide(one) for name, one in value.items()}
        return value


def _own(gradient: Tensor) -> Tensor:
    """A copy: what a backward returns may be what it saved."""
    dense = gradient.to_dense() if gradient.layout != torch.strided else gradient
    return dense.detach().to(torch.float64 if dense.device.type != "mps" else dense.dtype, copy=True)


def fresh(value: Any) -> Any:
    """Return a copy of every tensor: an operation may keep running statistics in what it is given."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(fresh(one) for one in value)
    if type(value) is dict:
        return {name: fresh(one) for name, one in value.items()}
    return value


def real(tensor: Tensor) -> Tensor:
    """Return the numbers as real ones, with a last axis of two if they are complex."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def flat(given: Any) -> list[Any]:
    """Return what an operation returns, one after another."""
    if isinstance(given, list | tuple):
        return [part for one in given for part in flat(one)]
    if isinstance(given, dict):
        return [part for one in given.values() for part in flat(one)]
    return [given]


def differentiable(one: Tensor) -> bool:
    """Whether it is a dense output that gradients come from."""
    wanted = one.requires_grad and (one.is_floating_point() or one.is_complex())
    return bool(wanted and one.numel() and one.layout == torch.strided)
