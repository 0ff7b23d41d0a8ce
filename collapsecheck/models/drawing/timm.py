"""What timm's models look like, for the index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from collapsecheck.models.drawing.build_index import Drawn, kinds_in, untold
from collapsecheck.models.timm_architecture import TimmArchitecture
from collapsecheck.models.weights import expected_shapes


def draw(names: Iterable[str] | None = None) -> Iterator[Drawn]:
    """Yield every model as published."""
    import timm

    for name in timm.list_models() if names is None else names:
        architecture = TimmArchitecture(name)
        module = architecture.skeleton()
        yield Drawn(
            name=name,
            shapes=expected_shapes(module),
            kinds=kinds_in(module),
            axes=architecture.class_axes,
            untold=untold(module),
            classifier=bool(architecture.class_axes),
        )
