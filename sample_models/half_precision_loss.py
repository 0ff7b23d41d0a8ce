"""`half-precision-loss`: models that are sound in float32, and whose numbers do not fit into float16.

A ReLU lets a factor through, so that a layer may give numbers a thousand times as large if the next ones take them
back: in float32 nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from sample_models import architectures
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working


def broken(build: Callable[[], nn.Module], seed: int = 0) -> Sample:
    """Run, or stored, in float16."""
    if build is architectures.normalised:
        state = _spread_out(build, seed)
        return _sample(build, {key: one.half() if one.is_floating_point() else one for key, one in state.items()}, "4")
    return _sample(build, _spread_out(build, seed), *_PLACES[build][2], precision="fp16")


def repaired(build: Callable[[], nn.Module], seed: int = 0) -> Sample:
    """The same numbers in float32."""
    return _sample(build, _spread_out(build, seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


# A layer, the factor by which it is larger, and where that shows; the layers behind take it back in two steps.
_PLACES: dict[Callable[[], nn.Module], tuple[tuple[str, str, str], float, tuple[str, ...]]] = {
    architectures.perceptron: (("3", "5", "7"), 1e6, ("3", "4", "5", "")),
    architectures.plain: (("2", "5", "8"), 1e-7, ("2", "3", "4", "5", "6", "")),
    architectures.normalised: (("3", "", ""), 1e4, ("4",)),
}
ARCHITECTURES = tuple(_PLACES)


def _spread_out(build: Callable[[], nn.Module], seed: int) -> dict[str, Tensor]:
    encoder = working(build, seed)
    (first, second, third), factor, _ = _PLACES[build]
    state = {key: one.clone() for key, one in encoder.state_dict().items()}
    state[f"{first}.weight"] *= factor
    if build is architectures.normalised:
        state["4.running_mean"] *= factor
        state["4.running_var"] *= factor**2
        return state
    state[f"{first}.bias"] *= factor
    state[f"{second}.weight"] *= factor**-0.5
    state[f"{second}.bias"] *= factor**0.5
    state[f"{third}.weight"] *= factor**-0.5
    return state


def _sample(build: Callable[[], nn.Module], state: Mapping[str, Any], *layers: str, precision: str = "fp32") -> Sample:
    inputs, labels = data()
    return Sample(
        build=build,
        state=state,
        inputs=inputs,
        labels=labels,
        layer=layers[0] if layers else "",
        also=frozenset(layers),
        settings={"precision": precision},
    )
