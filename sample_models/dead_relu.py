"""`dead-relu`: biases in front of a ReLU are so low that it never fires, as a step that was too large leaves them."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from sample_models import architectures
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

# The layer in front of the last ReLU, by architecture.
_PLACES: dict[Callable[[], nn.Module], str] = {
    architectures.plain: "5",
    architectures.perceptron: "5",
    architectures.normalised: "8",
    architectures.residual: "blocks.3.bn2",
    architectures.gelu_perceptron: "3",
}


def broken(build: Callable[[], nn.Module], seed: int = 0) -> Sample:
    """The last hidden layer is dead."""
    return _sample(build, seed, shift=-50.0)


def repaired(build: Callable[[], nn.Module], seed: int = 0) -> Sample:
    """The same model as it was trained."""
    return _sample(build, seed, shift=0.0)


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = tuple(_PLACES)


def _sample(build: Callable[[], nn.Module], seed: int, *, shift: float) -> Sample:
    encoder, place = working(build, seed), _PLACES[build]
    encoder.get_parameter(f"{place}.bias").data.add_(shift)
    inputs, labels = data()
    relu = "blocks.3.relu" if build is architectures.residual else str(int(place) + 1)
    return Sample(
        build=build, state=encoder.state_dict(), inputs=inputs, labels=labels, layer=place, also=frozenset({relu})
    )
