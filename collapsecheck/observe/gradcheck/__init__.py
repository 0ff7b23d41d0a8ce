"""Whether the gradients that a model's own operations give are those of what they compute.

A wrong backward trains towards nothing, and the embeddings need not show it. Each custom `torch.autograd.Function` is
found while a few items run through a copy of the model (`recording`), called again in float64 with what it was given
(`call`), and compared with finite differences (`numerical`, `judging`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collapsecheck.observe.probe import Probe

NEVER, CUSTOM, LAYERS = "never", "custom", "layers"


class Gradient(StrEnum):
    """What is said of the gradients of one call."""

    RIGHT = "right"
    WRONG = "wrong"
    DELIBERATE = "deliberate"  # not the derivative, on purpose: a straight-through estimator, a reversed gradient
    RANDOM = "random"  # not the same each time, so that nothing can be compared
    NOT_DIFFERENTIABLE = "not-differentiable"  # at what it gets: nothing but kinks, jumps or no number
    SKIPPED = "skipped"  # could not be checked, for the reason that the message states


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientCheck:
    """What became of one call. Plain values only.

    Parameters
    ----------
    function : name of the `torch.autograd.Function`, or of the class of the layer; "" for the model as a whole.
    module : key of `named_modules()` of the innermost module that made the call; "" for the model itself.
    message : half a sentence, the reason of anything that is not right.
    argument : the argument whose gradient is furthest off, as "argument 0" or "weight"; "" without one.
    entry : place in that argument.
    analytic, numerical : what the backward gives there, and the finite difference, for one random combination of all
        outputs; None where there are no two numbers to compare.
    ratio : analytic over numerical, where it is the same at all entries.
    depth : place in the order of execution.
    known_by : the fault by its short name, such as "returns-none", for remedies.
    """

    function: str
    module: str
    outcome: Gradient
    message: str
    argument: str = ""
    entry: tuple[int, ...] = ()
    analytic: float | None = None
    numerical: float | None = None
    ratio: float | None = None
    depth: int = 0
    known_by: str = ""


def unchecked(message: str, *, function: str = "", module: str = "", depth: int = 0) -> GradientCheck:
    """What could not be checked, and why."""
    return GradientCheck(function=function, module=module, outcome=Gradient.SKIPPED, message=message, depth=depth)


def gradient_checks(probe: Probe, which: str = CUSTOM) -> tuple[GradientCheck, ...] | None:
    """Check what a few items of the probe go through; the model and the state of all random numbers stay as they are.

    Parameters
    ----------
    which : "custom" for `torch.autograd.Function`s that are not torch's own, "layers" for every layer without layers
        of its own besides, "never".
    """
    if which == NEVER:
        return None
    # Here, since checks read these facts without torch.
    from collapsecheck.observe.differentiable import kept_tensors
    from collapsecheck.observe.gradcheck.judging import judge
    from collapsecheck.observe.gradcheck.random_state import kept_random_state
    from collapsecheck.observe.gradcheck.recording import record
    from collapsecheck.user_code import in_one_line

    try:
        with kept_random_state(), kept_tensors(probe.module):
            calls, told = record(probe, layers=which == LAYERS)
            found = [judge(call) for call in calls]
    except Exception as error:  # of a user's model anything may fail, and that must not cost the scan
        told, found = [unchecked(f"the gradients could not be checked: {in_one_line(error)}")], []
    return tuple(sorted((*told, *found), key=lambda one: one.depth))
