"""Faults that no derivative shows: numbers changed in place, state kept outside the context, a backward that raises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from collapsecheck.observe.gradcheck.call import Point, Replay
from collapsecheck.observe.gradcheck.random_state import begin_at
from collapsecheck.user_code import in_one_line

STATE = "state-outside-the-context"
SAME = 1e-9  # relative; sums may be formed in another order
Gradients = dict[int, Tensor | None]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, in half a sentence, and its short name."""

    message: str
    known_by: str
    place: int | None = None


def changed_input(replay: Replay, point: Point) -> Fault | None:
    """Whether the forward writes to an input whose gradient is wanted, without saying so."""
    made = replay.run(point)
    for place, passed in made.passed.items():
        if not passed.untyped_storage().size():  # given up on purpose, as reversible networks do
            continue
        before = point[place]
        before = (torch.view_as_complex(before) if passed.is_complex() else before).to(passed.dtype)
        returned = any(one is passed for one in made.returned)
        if not returned and not torch.equal(torch.nan_to_num(before), torch.nan_to_num(passed.detach())):
            name = replay.call.name(place)
            return Fault(
                f"its forward changes {name} in place and does not say so (ctx.mark_dirty)", "changes-its-input", place
            )
    return None


def changed_gradient(replay: Replay, point: Point, weights: Sequence[Tensor]) -> Fault | None:
    """Whether the backward writes to the gradient that it is given, which other branches share."""
    given = [one.clone() for one in weights]
    replay.gradients(replay.run(point), given)
    if all(torch.equal(one, other) for one, other in zip(given, weights, strict=True)):
        return None
    return Fault("its backward changes the gradient that it is given in place", "changes-the-gradient")


def changed_saved(replay: Replay, point: Point, weights: Sequence[Tensor]) -> Fault | None:
    """Whether the backward leaves what was saved as it was, so that a second one gives the same."""
    made = replay.run(point)
    fault = Fault("its backward changes what it saved in place, so that a second one differs", "changes-what-it-saved")
    begin_at(1)
    first = replay.gradients(made, [one.clone() for one in weights], retain=True)
    begin_at(1)
    try:
        second = replay.gradients(made, [one.clone() for one in weights], retain=True)
    except Exception as error:  # what was saved may be given up on purpose, and autograd sees what was changed
        return fault if "modified by an inplace operation" in str(error) else None
    return None if same(first, second) else fault


def shared_state(replay: Replay, point: Point, other: Point, weights: Sequence[Tensor]) -> Fault | None:
    """Whether another call in between changes the gradient of the first, as state on the class does."""
    alone = replay.gradients(replay.run(point), [one.clone() for one in weights])
    first = replay.run(point)
    try:
        replay.run(other)
    except Exception:  # the other numbers may be none that it is defined for
        return None
    begin_at(1)
    try:
        after = replay.gradients(first, [one.clone() for one in weights])
    except Exception as error:  # what it needed is gone
        return Fault(f"its backward fails when the function was called again before it: {in_one_line(error)}", STATE)
    once = replay.run(point)
    begin_at(1)
    if same(alone, after) or same(after, replay.gradients(once, [one.clone() for one in weights])):
        return None
    return Fault(
        "the gradient of a call changes when the function is called again before its backward: it keeps what it needs "
        "outside the context (ctx)",
        STATE,
    )


def same(one: Gradients, other: Gradients, share: float = SAME) -> bool:
    """Whether two gradients are the same but for rounding."""
    for place, left in one.items():
        right = other[place]
        if left is None or right is None:
            if left is not right:
                return False
            continue
        if left.shape != right.shape:
            return False
        apart = float((torch.nan_to_num(left) - torch.nan_to_num(right)).abs().max())
        if apart > share * float(torch.nan_to_num(left).abs().max()):
            return False
    return True
