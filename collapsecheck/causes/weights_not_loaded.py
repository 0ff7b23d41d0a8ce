"""Cause `weights-not-loaded`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collapsecheck.causes import Cause, Remedy, Suspicion
from collapsecheck.checks import Kind
from collapsecheck.errors import printable
from collapsecheck.scene import Scene


class WeightsNotLoaded(Cause):
    """Weights of the file did not find their place in the model, which kept what it was initialised with.

    Loading with `strict=False`, or under other names, leaves layers at random without a word. No experiment can put the
    right weights there; the keys that are missing tell.
    """

    explains = frozenset(set(Kind) - {Kind.NON_FINITE})

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Look at what was missing when the weights were loaded."""
        missing = (*(scene.seen.missing_keys or ()), *scene.seen.mismatched_keys)
        if not missing:
            return
        on_path = {layer.site.layer: layer.depth for layer in scene.path}
        affected = [key for key in missing if key.rpartition(".")[0] in on_path]
        if not affected:
            return
        first = min(affected, key=lambda key: on_path[key.rpartition(".")[0]])
        layer = first.rpartition(".")[0]
        left = len(scene.seen.unexpected_keys)
        yield Suspicion(
            layer=layer,
            depth=on_path[layer] - 0.5,
            evidence=(
                f"{len(affected)} weights that the embedding needs are not in the file, the first {printable(first)}"
                + (f"; {left} others in the file found no place" if left else "")
            ),
            known=True,
        )

    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """Load strictly."""
        return (
            Remedy(
                id="load-strictly",
                title="Load strictly, and rename what differs: prefixes of wrappers, or of the training script",
                snippet=(
                    "state = torch.load('model.pt', weights_only=True)\n"
                    "state = {key.removeprefix('module.'): value for key, value in state.items()}\n"
                    "model.load_state_dict(state, strict=True)"
                ),
                effect="an error here is the reason for the collapse",
            ),
        )
