"""What torchvision's models look like, for the index."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

from torchvision import models

from collapsecheck.models.drawing.build_index import Drawn, kinds_in, untold
from collapsecheck.models.torchvision_architecture import AUXILIARY, POSITIONS, TorchvisionArchitecture
from collapsecheck.models.weights import expected_shapes


def draw(names: Iterable[str] | None = None) -> Iterator[Drawn]:
    """Yield every model as published, and with and without its auxiliary heads."""
    for name in models.list_models() if names is None else names:
        architecture = TorchvisionArchitecture(name)
        for options in _variants(architecture):
            module = architecture.skeleton(**options)
            shapes = expected_shapes(module)
            axes = tuple(one for one in architecture.class_axes if one.name in shapes)
            yield Drawn(
                name=name,
                shapes=shapes,
                kinds=kinds_in(module),
                axes=axes,
                resizable=frozenset([(POSITIONS, 1)]) if POSITIONS in shapes else frozenset(),
                untold=untold(module),
                classifier=architecture.classifies and bool(axes),
            )


def _variants(architecture: TorchvisionArchitecture) -> Iterator[dict[str, Any]]:
    yield {}
    builder = models.get_model_builder(architecture.arch_name or "")
    if "aux_loss" in inspect.signature(builder).parameters:
        yield {"aux_loss": True}
    if any(name.startswith(AUXILIARY) for name in architecture.shapes()):
        yield {"aux_logits": False}
