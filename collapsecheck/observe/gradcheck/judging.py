"""What is said of one call: right, wrong, or why neither can be said."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from collapsecheck.observe.gradcheck import Gradient, GradientCheck, habits
from collapsecheck.observe.gradcheck.call import Call, NoGradient, Point, Replay
from collapsecheck.observe.gradcheck.comparing import Comparison, Entry, weights_for
from collapsecheck.observe.gradcheck.excuses import draws, is_step, not_linear, passes_on
from collapsecheck.observe.gradcheck.habits import Fault
from collapsecheck.observe.gradcheck.numerical import DOUBLE, HALF, SINGLE, Precision
from collapsecheck.observe.gradcheck.points import direction, moved, size_of
from collapsecheck.observe.gradcheck.torch_check import complaint
from collapsecheck.user_code import in_one_line

TRIES = 2  # points beside the recorded one
# A backward that is right but for this share of its largest entry is an approximation, such as that of GELU by tanh.
APPROXIMATE = 2e-3


class _Ended(Exception):  # noqa: N818 - it is an answer
    """Carries the answer out of whatever step found it."""

    def __init__(self, outcome: Gradient, message: str, **values: Any) -> None:
        super().__init__(message)
        self.outcome, self.message, self.values = outcome, message, values


def judge(call: Call) -> GradientCheck:
    """Check one call; never raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of operations that are called in another precision than is usual
            outcome, message, values = _judged(call)
    except _Ended as end:
        outcome, message, values = end.outcome, end.message, end.values
    except Exception as error:  # a user's operation may fail in any way, and memory may run out
        outcome, message, values = Gradient.SKIPPED, f"it could not be checked: {in_one_line(error)}", {}
    return GradientCheck(
        function=call.function, module=call.module, outcome=outcome, message=message, depth=call.depth, **values
    )


def _judged(call: Call) -> tuple[Gradient, str, dict[str, Any]]:
    if not call.varied:
        return Gradient.SKIPPED, "it gets no tensor of real or complex numbers", {}
    empty = [place for place in call.varied if not call.arguments[place].numel()]
    if len(empty) == len(call.varied):
        return Gradient.SKIPPED, "it gets empty tensors only", {}
    replay = _replayed(call)
    here = replay.here
    values = replay.values(here)
    if not any(bool(torch.isfinite(one).any()) for one in values):
        return Gradient.NOT_DIFFERENTIABLE, "it gives NaN or Inf only, at what it gets", {}
    _same_each_time(replay, here, values)
    weights = weights_for(values, seed=0)
    precision = _precision(replay, values)
    if call.custom:
        for fault in (
            habits.changed_input(replay, here),
            habits.changed_gradient(replay, here, weights),
            habits.changed_saved(replay, here, weights),
            habits.shared_state(replay, here, _moved(here, 9), weights),
        ):
            if fault is not None:
                raise _wrong(call, fault)
        first, second = (
            replay.gradients(replay.run(here), [one.clone() for one in weights]) for _ in range(2)
        )  # begun at the same random numbers
        if not habits.same(first, second, max(habits.SAME, 4 * precision.rounding)):
            return Gradient.RANDOM, "its backward gives another gradient each time, under one seed", {}
    return _compared(replay, precision, weights)


def _replayed(call: Call) -> Replay:
    """The call in double precision where forward and backward bear it, else as it was made."""
    failed: list[tuple[bool, Exception]] = []
    for double in (True, False):
        replay = Replay(call=call, double=double)
        forward = False
        try:
            made = replay.run(replay.here)
            forward = True
            replay.gradients(made, [torch.ones_like(one) for one in made.outputs])
        except NoGradient:
            raise _Ended(Gradient.SKIPPED, "none of what it gives can be differentiated") from None
        except NotImplementedError as error:
            told = "it has no backward" if forward else f"it cannot be called again: {in_one_line(error)}"
            raise _Ended(Gradient.SKIPPED, told) from None
        except Exception as error:  # whatever a user's operation raises
            failed.append((forward, error))
            continue
        return replay
    forward, last = failed[-1]
    if not forward:
        raise _Ended(Gradient.SKIPPED, f"it cannot be called again outside the model: {in_one_line(last)}")
    raise _Ended(Gradient.WRONG, f"its backward fails: {in_one_line(last)}", known_by="backward-fails")


def _same_each_time(replay: Replay, here: Point, values: Sequence[Tensor]) -> None:
    again = replay.values(here)
    for one, other in zip(values, again, strict=False):
        if one.shape != other.shape:
            raise _Ended(Gradient.RANDOM, "it gives another number of values each time")
        apart, size = (torch.nan_to_num(one - other).abs().max(), torch.nan_to_num(one).abs().max())
        if float(apart) > 1e-6 * float(size):
            raise _Ended(
                Gradient.RANDOM,
                "it gives something else each time, although the random numbers begin at the same place",
            )


def _precision(replay: Replay, values: Sequence[Tensor]) -> Precision:
    """In what it computes: rounding what it gets to fewer digits changes nothing if it rounds by itself."""
    if not replay.double:
        dtypes = {one.dtype for one in replay.arguments if isinstance(one, Tensor) and one.is_floating_point()}
        return HALF if dtypes & {torch.float16, torch.bfloat16} else SINGLE
    if any(one.dtype in (torch.float16, torch.bfloat16) for one in values):
        return HALF
    point = _moved(replay.here, 11)
    exact = replay.values(point)

    def unmoved_in(dtype: torch.dtype) -> bool:
        rounded = replay.values({place: one.to(dtype).to(one.dtype) for place, one in point.items()})
        return all(torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)) for a, b in zip(exact, rounded, strict=True))

    if not unmoved_in(torch.float32):
        return DOUBLE
    # So does a step function, but of that few values change with a small move.
    widely = _moving(replay, point, exact, 0.3)
    if widely < sum(one.numel() for one in exact) / 4:
        return DOUBLE
    halves = unmoved_in(torch.float16) or unmoved_in(torch.bfloat16)
    if halves and _moving(replay, point, exact, 0.05) > widely / 2:
        return HALF
    return SINGLE if _moving(replay, point, exact, 1e-3) > widely / 2 else DOUBLE


def _moving(replay: Replay, point: Point, exact: Sequence[Tensor], share: float) -> float:
    """How many of the values change when all that it gets moves by this share of its size."""
    other = {place: one + share * size_of(one) * direction(one, 12) for place, one in point.items()}
    try:
        values = replay.values(other)
    except Exception:  # as below
        return 0.0
    return float(sum((one != another).sum() for one, another in zip(exact, values, strict=False)))


def _moved(point: Point, seed: int) -> Point:
    return {place: moved(one, seed + place) for place, one in point.items()}


def _compared(replay: Replay, precision: Precision, weights: Sequence[Tensor]) -> tuple[Gradient, str, dict[str, Any]]:
    here = Comparison(replay=replay, point=replay.here, precision=precision, weights=weights)
    entries = [entry for place in _places(replay) for entry in here.elements(place)]
    _settle(here, entries)
    sound = {(one.place, one.index) for one in entries if one.known and one.index is not None}
    told = complaint(replay, sound) if precision is DOUBLE and sound else ""
    known = {one.place for one in entries if one.telling}
    tries = (TRIES if replay.call.custom else 1) + 2 * bool(told)
    beside = 0
    for seed in range(1, tries + 1):
        at = _beside(replay, precision, weights, seed)
        if at is None:
            continue
        beside += 1
        along = [at.along(place, seed) for place in _places(replay)]
        _settle(at, along, seed)
        if told:
            _settle(at, [entry for place in _places(replay) for entry in at.elements(place, seed)])
        known |= {one.place for one in along if one.telling}
    names = [replay.call.name(place) for place in _places(replay) if place not in known]
    if not known and precision is HALF:
        return Gradient.SKIPPED, "it computes in half precision, where finite differences tell nothing", {}
    if not known:
        return Gradient.NOT_DIFFERENTIABLE, "it has no derivative at what it gets: kinks, jumps or too few digits", {}
    notes = [f"{' and '.join(names)} could not be compared: no derivative there"] if names else []
    if not beside:
        notes.append("compared at a few entries only, since it fails beside what it gets")
    if told:
        notes.append(f"torch.autograd.gradcheck says: {told}; finer differences agree")
    unasked = [place for place in _places(replay) if here.gradients[place] is None and not replay.call.varied[place]]
    if unasked and _matters(here, entries, unasked):
        named = " and ".join(replay.call.name(place) for place in unasked)
        notes.append(f"{named} gets no gradient, which is right if nothing that is trained comes before it")
    if precision is not DOUBLE:
        notes.append(f"computed in {precision.name} precision, so compared roughly")
    return Gradient.RIGHT, "; ".join(notes), {}


def _beside(replay: Replay, precision: Precision, weights: Sequence[Tensor], seed: int) -> Comparison | None:
    """A point a little off the recorded one; None where the operation is not defined there."""
    with contextlib.suppress(Exception):
        at = Comparison(replay=replay, point=_moved(replay.here, seed), precision=precision, weights=weights)
        return at if at.gradients else None
    return None


def _places(replay: Replay) -> list[int]:
    return [place for place in replay.call.varied if replay.here[place].numel()]


def _matters(here: Comparison, entries: Sequence[Entry], places: Sequence[int]) -> bool:
    return any(one.place in places and one.wrong for one in entries) or any(
        here.along(place, 1).wrong for place in places
    )


def _settle(at: Comparison, entries: Sequence[Entry], seed: int = 0) -> None:
    """Go on if these are right; end with the reason if not."""
    call = at.replay.call
    wrong = [one for one in entries if one.wrong and not _forgiven(at, one)]
    if not wrong:
        return
    if passes_on(at):
        raise _Ended(
            Gradient.DELIBERATE,
            "its forward hands on what it gets, so its backward is what it is for: it changes, stops or reverses "
            "the gradient",
        )
    if any(is_step(at, place) for place in _places(at.replay)):
        raise _Ended(
            Gradient.DELIBERATE,
            "its forward is a step function, whose derivative is 0, and its backward passes something on: a "
            "straight-through or surrogate gradient",
        )
    worst = max(wrong, key=lambda one: one.off / one.allowed if math.isfinite(one.off) else math.inf)
    looked = [one for one in at.elements(worst.place, seed) if one.known]
    if worst.index is None:
        looked.append(at.worst_of(worst.place, seed))
    looked += [one for one in wrong if one.place == worst.place and one.index is not None]
    entry = max((one for one in looked if one.known), key=_distance, default=worst)
    if at.gradients[worst.place] is None and call.custom:
        fault = Fault(
            f"its backward gives no gradient (None) for {call.name(worst.place)}", "returns-none", worst.place
        )
        raise _wrong(call, fault, entry, at, None)
    if math.isfinite(worst.off) and not_linear(at, looked, lambda other: _right(other, seed)):
        raise _Ended(
            Gradient.DELIBERATE,
            "its backward is not linear in the gradient that it is given, and right for small or one-sided ones: it "
            "clips gradients",
        )
    if (on_average := draws(at, looked)) is not None:
        if on_average:
            raise _Ended(Gradient.RANDOM, "its backward draws random numbers, and is right on average")
        fault = Fault("its backward draws other random numbers than its forward", "draws-in-the-backward", worst.place)
        raise _wrong(call, fault, entry, at, None)
    if _approximate(at, worst.place, seed, looked):
        raise _Ended(
            Gradient.DELIBERATE,
            f"its gradient is an approximation that is off by at most {APPROXIMATE:.1%} of the largest entry",
        )
    if not (call.custom or call.calls_custom):
        raise _Ended(
            Gradient.DELIBERATE,
            f"of {call.name(entry.place)} a part is cut off, as detach and no_grad do:{_at(entry, at)} its gradient is "
            f"{entry.analytic:.4g} where finite differences give {entry.numerical.value:.4g}",
        )
    ratio = _ratio(looked)
    times = f", {ratio:.3g} times as much at every entry" if ratio is not None else ""
    fault = Fault(
        f"the gradient of {call.name(entry.place)}{_at(entry, at)} is {entry.analytic:.4g} where finite differences "
        f"give {entry.numerical.value:.4g}{times}",
        "wrong-value",
        entry.place,
    )
    raise _wrong(call, fault, entry, at, ratio)


def _approximate(at: Comparison, place: int, seed: int, looked: Sequence[Entry]) -> bool:
    """Whether it is off by little at each entry, and in all of them together."""
    gradient = at.gradient(place)
    largest, length = float(gradient.abs().max()), float(gradient.square().sum().sqrt())
    along = [at.along(place, seed + count) for count in (1, 2)]
    return all(one.off <= APPROXIMATE * largest for one in looked) and all(
        one.off <= APPROXIMATE * length for one in along
    )


def _forgiven(at: Comparison, one: Entry) -> bool:
    """A gradient that nobody would miss."""
    return at.gradients[one.place] is None and not at.replay.call.varied[one.place]


def _right(other: Comparison, seed: int) -> bool:
    with contextlib.suppress(Exception):
        return not any(
            one.wrong and not _forgiven(other, one)
            for place in _places(other.replay)
            for one in (other.along(place, seed), *other.elements(place, seed))
        )
    return False


def _distance(entry: Entry) -> float:
    if not math.isfinite(entry.off):
        return math.inf
    return entry.off / max(abs(entry.analytic), abs(entry.numerical.value), 1e-300) * (1 if entry.wrong else 1e-3)


def _ratio(entries: Sequence[Entry]) -> float | None:
    """What all entries are multiplied by, if it is the same for all of them."""
    pairs = [(one.analytic, one.numerical.value) for one in entries if one.index is not None and one.wrong]
    if len(pairs) < 3 or any(b == 0 or not math.isfinite(a) for a, b in pairs):
        return None
    ratios = [a / b for a, b in pairs]
    middle = sorted(ratios)[len(ratios) // 2]
    same = all(abs(one - middle) <= 0.02 * abs(middle) for one in ratios)
    right = [one for one in entries if one.index is not None and one.known and not one.wrong and one.analytic != 0]
    return middle if same and middle != 0 and not right else None


def _index(entry: Entry, at: Comparison) -> tuple[int, ...]:
    if entry.index is None:
        return ()
    return tuple(int(one) for one in torch.unravel_index(torch.tensor(entry.index), at.point[entry.place].shape))


def _at(entry: Entry, at: Comparison) -> str:
    index = _index(entry, at)
    return f" at {list(index)}" if index else ""


def _wrong(
    call: Call, fault: Fault, entry: Entry | None = None, at: Comparison | None = None, ratio: float | None = None
) -> _Ended:
    values: dict[str, Any] = {"known_by": fault.known_by, "ratio": ratio}
    if fault.place is not None:
        values["argument"] = call.name(fault.place)
    if entry is not None and at is not None:
        numbers = {"analytic": entry.analytic, "numerical": entry.numerical.value}
        values |= {name: one if math.isfinite(one) else None for name, one in numbers.items()}
        values["entry"] = _index(entry, at)
    return _Ended(Gradient.WRONG, fault.message, **values)
