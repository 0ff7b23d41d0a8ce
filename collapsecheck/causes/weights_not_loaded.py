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
    symptomless = True

    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Look at what was missing when the weights were loaded."""
        missing = (*(scene.seen.missing_keys or ()), *scene.seen.mismatched_keys)
        if not missing:
            return
        on_path: dict[str, float] = {}
        for step in scene.path:
            on_path.setdefault(step.site.layer, step.depth)
        affected = [key for key in missing if _layer(key) in on_path]
        if not affected:
            return
        first = min(affected, key=lambda key: on_path[_layer(key)])
        layer = _layer(first)
        left = len(scene.seen.unexpected_keys)
        yield Suspicion(
            layer=layer,
            depth=on_path[layer] - 0.5,
            evidence=(
                f"{len(affected)} weights that the embedding needs are not in the file, the first {printable(first)}"
                + (f"; {left} others in the file found no place" if left else "")
            ),
            known=True,
            roots=frozenset(map(_layer, affected)),
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


def _layer(key: str) -> str:
    """The layer whose step needs a weight; attention reads the weights of its output layer itself."""
    return key.rpartition(".")[0].partition(".parametrizations")[0].removesuffix(".out_proj")
