"""Cause `wrong-custom-gradient`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from collapsecheck.causes import Cause, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.checks.custom_gradients import named
from collapsecheck.observe.gradcheck import Gradient, GradientCheck
from collapsecheck.scene import Scene

_ADVICE = {
    "returns-none": "Return a gradient for every argument that is trained, in the order of forward's arguments",
    "backward-fails": "Let backward return one gradient for each argument of forward, of its shape; None for constants",
    "changes-its-input": "Compute on x.clone(), or call ctx.mark_dirty(x) and return x itself",
    "changes-the-gradient": "Copy the gradient before writing to it: grad = grad_output.clone()",
    "changes-what-it-saved": "Leave what was saved as it is: y.mul(grad) in place of y.mul_(grad)",
    "state-outside-the-context": "Keep what backward needs in ctx.save_for_backward, not on the class or in a global",
    "draws-in-the-backward": "Save the mask that forward drew, and use it in backward",
}


class WrongCustomGradient(Cause):
    """The backward of a custom operation is not the derivative of its forward.

    All that lies before it was trained towards something else than less loss, or not at all. The embeddings need not
    be worse for it: what lies behind is trained rightly. That the gradient is wrong is measured; whether a collapse
    comes of it only training again can show, so that it is never more than likely.
    """

    explains = frozenset(Kind)
    symptomless = True
    by_training = True

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """What the check has found, each operation once."""
        found = [one for one in scene.seen.gradient_checks or () if one.outcome is Gradient.WRONG]
        for first in {one.function: one for one in reversed(found)}.values():
            places = [one.module for one in found if one.function == first.function]
            others = f", and in {len(places) - 1} other places" if len(places) > 1 else ""
            yield Suspicion(
                layer=first.module,
                # Behind whatever an experiment has helped with, since none can be made here.
                depth=_depth(scene, first.module) if scene.kind is None else 1e6,
                evidence=f"{named(first)}{others}: {first.message}",
                known=True,
                numbers={
                    name: value
                    for name, value in (("analytic", first.analytic), ("numerical", first.numerical))
                    if value is not None
                },
            )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Which part of the backward to look at."""
        found = scene.seen.gradient_checks or ()
        one = next(
            (one for one in found if one.module == suspicion.layer and one.outcome is Gradient.WRONG),
            GradientCheck(function="MyFunction", module="", outcome=Gradient.WRONG, message=""),
        )
        return (
            Remedy(
                id="correct-the-backward",
                title=f"Correct {one.function}.backward: {_advice(one)}",
                snippet=(
                    "# in double precision, with the inputs that forward is given\n"
                    f"torch.autograd.gradcheck({one.function}.apply, inputs)  # raises, and names the entry"
                ),
                effect="train again: the weights before it were trained on a wrong gradient",
                reference="https://docs.pytorch.org/docs/stable/notes/gradcheck.html",
            ),
            Remedy(
                id="let-autograd-do-it",
                title=f"Compute what {one.function}.forward does in plain torch operations, without a backward",
                effect="train again; more memory where the backward was written to save some",
            ),
        )


def _advice(one: GradientCheck) -> str:
    if one.known_by in _ADVICE:
        return _ADVICE[one.known_by]
    where = one.argument or "an argument"
    if one.ratio is not None and abs(one.ratio + 1) < 0.02:
        return f"the gradient of {where} has the wrong sign"
    if one.ratio is not None:
        return f"the gradient of {where} is {one.ratio:.3g} times what it should be: a factor, or a mean for a sum"
    if one.analytic == 0:
        return f"the gradient of {where} is 0 where it should not be: look for a mask or an index"
    if one.numerical == 0:
        return f"the gradient of {where} is not 0 where it should be: look for a mask that is missing, or an index"
    return (
        f"the gradient of {where} differs by more than a factor: look for a term that is missing, another tensor saved "
        "than is used, or a sum over the wrong axis"
    )


def _depth(scene: Scene, module: str) -> float:
    """Where the module runs; behind all that is on the path if it is not there."""
    layers = chain(scene.path, scene.layers)
    return next((one.depth for one in layers if one.site.layer == module), 1e6)
