"""Cause `wrong-embedding-layer`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from collapsecheck.causes import Cause, Intervention, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.observe.layers import Layer
from collapsecheck.scene import Scene

_SQUASHING = {"softmax", "logsoftmax", "log_softmax", "sigmoid", "tanh", "hardtanh", "hardsigmoid", "softplus"}


class WrongEmbeddingLayer(Cause):
    """The embedding is read where the model has already decided: behind a softmax or a sigmoid.

    Probabilities of a sure classifier are the same corner for all items of a class, and of one sign. The experiment
    reads the layer in front of that; the model stays as it is.
    """

    explains = frozenset({Kind.COMPLETE, Kind.CONE, Kind.CLUSTER, Kind.DIMENSIONAL})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Look for a squashing function at the end, and for rows that sum to 1."""
        if not scene.path:
            return
        last = scene.path[-1]
        rows = scene.find.embeddings
        sums = rows.sum(1)
        softmax = bool(rows.size and rows.shape[1] > 1 and (rows >= 0).all() and np.abs(sums - 1).max() < 1e-3)
        squashed = (last.site.function or last.site.type.lower()) in _SQUASHING
        if (softmax or squashed) and _in_front(scene) is not None:
            yield Suspicion(
                layer=last.site.layer,
                depth=last.depth - 0.5,
                evidence="the embeddings are probabilities: each row sums to 1"
                if softmax
                else f"the embedding is what comes out of {last.site} ({last.site.function or last.site.type})",
                size=0.1,
            )

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Read in front of it."""
        before = _in_front(scene)
        if before is not None:
            yield Intervention(
                probe=scene.confirm.read_at(before.site.layer),
                change=f"the embedding read at {before.site.layer}, in front of that",
                uncontrolled="reading elsewhere changes nothing in the model",
            )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Take the layer in front."""
        before = _in_front(scene)
        layer = before.site.layer if before is not None else "the layer before"
        return (
            Remedy(
                id="read-in-front",
                title=f"Read the embedding at {layer}, or at the layer in front of the classifier",
                snippet=(
                    "held = {}\n"
                    f"model.get_submodule({layer!r}).register_forward_hook(\n"
                    "    lambda module, inputs, output: held.update(embedding=output.clone()))"
                ),
                effect=f"collapsecheck scan … --layer {layer}",
            ),
        )


def _in_front(scene: Scene) -> Layer | None:
    """The last module on the path before the squashing function, read as a whole."""
    earlier = [layer for layer in scene.path[:-1] if not layer.site.function and layer.site.layer]
    return earlier[-1] if earlier else None
