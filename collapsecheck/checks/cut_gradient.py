"""Layers that the embedding depends on, and no gradient reaches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Level
from collapsecheck.errors import NotMeasuredError

if TYPE_CHECKING:
    from collapsecheck.observe import Observations
    from collapsecheck.observe.gradients import LayerGradient


class CutGradient(Check):
    """Whether the gradient reaches every layer that the embedding depends on.

    Measures: the gradient of each layer's weights (none, or exactly zero) against an experiment: the weights are moved
    by a hundredth, and the embedding moves with them or does not.
    Healthy: what moves the embedding gets a gradient. Layers that take no part move nothing, and are left out.
    Fails: as a warning where layers are cut off, or frozen while others are not, and their weights look as they were
    drawn: nobody has trained them. As a note where they are trained: a backbone is frozen on purpose often.
    Usual reasons: `detach()`, `torch.no_grad()`, `.data` or numpy in the forward; rounding, `sign`, `argmax`;
    `requires_grad_(False)`; parameters that the optimiser was not given.
    """

    HEALTHY = testing.learning
    COLLAPSED = testing.cut_off

    def run(self, seen: Observations) -> Iterator[Finding]:
        """Cut off first, then frozen."""
        found = seen.gradients
        cut = found.cut
        frozen = [one for one in found.layers if one.frozen and not all(other.frozen for other in found.layers)]
        untrained = seen.weights is not None and bool(seen.weights.untrained)
        if not cut and not any(one.fresh for one in frozen):
            told = "every layer that the embedding depends on gets a gradient"
            try:
                idle = seen.idle
            except NotMeasuredError as reason:
                idle, told = (), f"{told}; {reason}"
            yield self._idle(idle) if idle else self.passed(told, value=0.0)
            return
        layers = cut or frozen
        told = f"{_named(layers)} " + ("get no gradient" if len(layers) > 1 else "gets no gradient")
        if cut:
            how, them = max(one.moves for one in cut), "them" if len(cut) > 1 else "it"
            told += f", although the embedding depends on {them}: it moves by {how:.1e} when a layer moves by 1 %"
        else:
            told += ": frozen (requires_grad is False)"
        evidence = {"layers": [one.layer for one in layers], "moves": {one.layer: one.moves for one in cut}}
        shared = {"value": float(len(layers)), "threshold": 0.0, "layer": layers[-1].layer, "evidence": evidence}
        tested = [one for one in layers if one.fresh is not None]
        everything = len(cut) == sum(one.matrix for one in found.layers) or not found.learning
        if tested and all(one.fresh for one in tested) and not untrained and not everything:
            yield self.failed(Level.WARNING, f"{told}; the weights look as they were drawn: never trained", **shared)
        else:
            why = "the model cuts off everything" if everything else "right for a backbone that is frozen on purpose"
            yield self.failed(Level.NOTE, f"{told}; {why}", **shared)

    def _idle(self, names: Sequence[str]) -> Finding:
        shown = names[0] if len(names) == 1 else f"{len(names)} tensors ({names[0]} to {names[-1]})"
        return self.failed(
            Level.WARNING,
            f"{shown} look as they were drawn, and the optimiser in the file did not move them: it does not hold them, "
            "or no gradient came",
            value=float(len(names)), threshold=0.0, layer=names[-1].rpartition(".")[0],
            evidence={"tensors": list(names)},
        )  # fmt: skip


def _named(layers: Sequence[LayerGradient]) -> str:
    names = [one.layer or "the model itself" for one in layers]
    return names[0] if len(names) == 1 else f"{len(names)} layers ({names[0]} to {names[-1]})"
