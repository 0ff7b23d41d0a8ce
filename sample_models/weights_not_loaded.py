"""`weights-not-loaded`: part of the weights is not in the file, and the model keeps what it was initialised with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from sample_models import architectures
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working


def _is_buffer(key: str) -> bool:
    return "running" in key or "num_batches" in key


# Which of the tensors are missing, and the first layer that needs them.
_MISSING: dict[Build, tuple[Callable[[str], bool], str]] = {
    architectures.residual: (_is_buffer, "stem.1"),  # saved by named_parameters(), which leaves out buffers
    architectures.normalised: (_is_buffer, "1"),
    architectures.transformer: (lambda key: key.startswith("blocks."), "blocks.layers.0.norm1"),
    architectures.perceptron: (lambda key: key.split(".")[0] in ("3", "5"), "3"),
    architectures.recurrent: (lambda key: key.startswith("gru."), "gru"),
}


def broken(build: Build, seed: int = 0) -> Sample:
    """A file that holds too little, loaded all the same."""
    is_missing, layer = _MISSING[build]
    sample = handed(build, working(build, seed), layer, allow_partial=True)
    return replace(sample, state={key: tensor for key, tensor in sample.state.items() if not is_missing(key)})


def repaired(build: Build, seed: int = 0) -> Sample:
    """The whole file."""
    return handed(build, working(build, seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = tuple(_MISSING)
