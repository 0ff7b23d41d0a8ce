"""Cause `cut-gradient`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collapsecheck.causes import Cause, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.errors import NotMeasuredError
from collapsecheck.scene import Scene


class CutGradient(Cause):
    """Layers that the embedding depends on were never trained, since no gradient reaches them.

    A `detach()`, `torch.no_grad()` or rounding in the forward cuts off all that comes before; parameters that are
    frozen, or that the optimiser was not given, stay as they were drawn although a gradient would reach them. The
    embedding is then made of random features, which need not collapse. Evidence: their weights are moved by a hundredth
    and the embedding follows, the gradient is nothing or zero, and they look as their layers draw them while others do
    not. Of backbones that are trained, and frozen on purpose, nothing is said. Likely: that training failed because of
    it only training again can prove.
    """

    explains = frozenset({Kind.COMPLETE, Kind.CONE, Kind.DIMENSIONAL})
    symptomless = True

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Look for layers without a gradient that nobody has trained."""
        found = scene.seen.gradients
        if scene.seen.weights is not None and scene.seen.weights.untrained:
            return
        told = [one for one in found.cut if one.fresh is not None]  # others are too small to tell
        cut = found.cut if told and all(one.fresh for one in told) else ()
        frozen = tuple(one for one in found.layers if one.frozen and one.fresh and not one.cut)
        layers = cut or frozen
        try:
            if not layers and scene.seen.idle:
                yield self._idle(scene)
        except NotMeasuredError:
            return
        if not layers or not found.learning:
            return
        names = [one.layer or "the model itself" for one in layers]
        named = names[0] if len(names) == 1 else f"{len(names)} layers, {names[0]} to {names[-1]},"
        if cut:
            moves = max(one.moves for one in cut)
            how = f"get no gradient, although moving one by 1 % moves the embeddings by {moves:.1e} of their length"
        else:
            how = "are frozen (requires_grad is False)"
        how = how if len(names) > 1 else how.replace("get ", "gets ", 1).replace("are ", "is ", 1)
        after = next((one for one in found.learning if one.depth > layers[-1].depth), None)
        before = f"; {after.layer or 'the model itself'}, which comes next, gets one" if cut and after else ""
        yield Suspicion(
            layer=layers[-1].layer,
            depth=layers[-1].depth,
            evidence=f"{named} {how}{before}, and the weights look as they were drawn while others are trained",
            known=True,
        )

    def _idle(self, scene: Scene) -> Suspicion:
        """What the optimiser left alone."""
        names, facts = scene.seen.idle, scene.optimiser
        missing = facts is not None and names[0] in facts.missing
        how = "does not hold" if missing else "holds, but without a gradient of late,"
        layer = names[-1].rpartition(".")[0]
        depth = next((one.depth for one in scene.path if one.site.layer == layer), 0)
        return Suspicion(
            layer=layer,
            depth=depth,
            evidence=(
                f"the optimiser in the file {how} {names[0]}"
                + (f" and {len(names) - 1} more, up to {names[-1]}" if len(names) > 1 else "")
                + ": they look as they were drawn, while other weights are trained"
            ),
            known=True,
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Find the cut, or train what is frozen."""
        place = f"behind {suspicion.layer}" if suspicion.layer else "in the model's forward"
        return (
            Remedy(
                id="take-the-cut-out",
                title=f"Look {place} for detach(), no_grad(), .data, numpy, rounding or argmax, and take it out",
                snippet=(
                    "loss.backward()\n"
                    "print([name for name, one in model.named_parameters()\n"
                    "       if one.grad is None or not one.grad.any()])  # expected: none"
                ),
                effect="then train again: what was cut off has random weights",
            ),
            Remedy(
                id="give-all-parameters",
                title="See that nothing is frozen by mistake, and that the optimiser holds all parameters",
                snippet=(
                    "model.requires_grad_(True)\n"
                    "optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)  # after all layers are made"
                ),
                effect="a backbone that is meant to be frozen needs trained weights: load them",
            ),
        )
