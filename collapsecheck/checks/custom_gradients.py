"""A backward that is not the derivative of its forward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Level
from collapsecheck.observe.gradcheck import Gradient, GradientCheck

if TYPE_CHECKING:
    from collapsecheck.observe import Observations

SHOWN = 3  # of those that are not right, by name


class CustomGradients(Check):
    """Whether the gradients of the model's own operations are the derivatives of what they compute.

    Measures: each custom `torch.autograd.Function` that takes part, in double precision at what it is given for a few
    items: its backward next to finite differences of its forward (`torch.autograd.gradcheck`), off kinks and ties.
    Healthy: none is wrong. Straight-through estimators, reversed and clipped gradients are no derivatives on purpose,
    and count as right; they are told, as is whatever could not be compared.
    Fails: at the first wrong one (error). It need not show in the embeddings, but each further step of training goes
    astray. Also where a backward fails, gives None for what is trained, or changes what is not its own.
    Usual reasons: a sign, a factor or a term that is missing; the wrong tensor saved; a sum over the wrong axis.
    """

    HEALTHY = testing.right_gradients
    COLLAPSED = testing.wrong_gradients

    def run(self, seen: Observations) -> Iterator[Finding]:
        """Each wrong one; or else what was found in all."""
        found = seen.gradient_checks
        if found is None:
            yield self.skipped("no model was run, or --gradcheck never was given")
            return
        wrong = [one for one in found if one.outcome is Gradient.WRONG]
        told = [one for one in found if one.outcome not in (Gradient.WRONG, Gradient.RIGHT)]
        shared = {"value": float(len(wrong)), "threshold": 0.0}
        for one in wrong:
            yield self.failed(
                Level.ERROR,
                f"{named(one)}: {one.message.rstrip('.')}",
                layer=one.module,
                evidence=_evidence(one),
                **shared,
            )
        right = [one for one in found if one.outcome is Gradient.RIGHT]
        if wrong and told:
            yield self.skipped(f"besides, {_listed(told)}")
        elif not wrong and (right or not found):
            notes = f"; not compared, or not meant to be one: {_listed(told)}" if told else ""
            message = (
                f"{_counted(right)} the derivative{'s' * (len(right) != 1)}" if right else "no custom operation runs"
            )
            evidence = {"operations": [_evidence(one) for one in (*right, *told)]}
            yield self.passed(f"{message}{notes}", evidence=evidence, **shared)
        elif told and all(one.outcome is Gradient.DELIBERATE for one in told):
            evidence = {"operations": [_evidence(one) for one in told]}
            yield self.passed(f"no derivatives, on purpose: {_listed(told)}", evidence=evidence, **shared)
        elif told:
            yield self.skipped(f"could not be compared: {_listed(told)}", evidence={
                "operations": [_evidence(one) for one in told]})  # fmt: skip


def named(one: GradientCheck) -> str:
    """Return the operation and its place, for people."""
    what = one.function or "the model"
    return f"{what} in {one.module}" if one.module else what


def _counted(right: Sequence[GradientCheck]) -> str:
    names = list(dict.fromkeys(one.function for one in right))
    listed = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    one = len(right) == 1
    return f"the gradient{'' if one else 's'} of {listed} {'is' if one else 'are'}"


def _listed(told: Sequence[GradientCheck]) -> str:
    listed = "; ".join(f"{named(one)} ({one.message})" for one in told[:SHOWN])
    return listed + (f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else "")


def _evidence(one: GradientCheck) -> dict[str, object]:
    plain: dict[str, object] = {
        "function": one.function, "module": one.module, "outcome": one.outcome.value, "message": one.message,
    }  # fmt: skip
    if one.argument:
        plain |= {"argument": one.argument, "entry": list(one.entry)}
    numbers = {"analytic": one.analytic, "numerical": one.numerical, "ratio": one.ratio}
    return plain | {name: number for name, number in numbers.items() if number is not None}
