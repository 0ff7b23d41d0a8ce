"""Makes the shipped indices anew: `python -m collapsecheck.models.drawing.build_index [torchvision|timm]`.

Every model is built without memory and without initialising it, several times: as published, with other options, and
with two numbers of classes. Run it when a new release of the library has models that the index lacks.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from torch import nn

from collapsecheck import recognition
from collapsecheck.recognition.alignment import Shapes, is_counter
from collapsecheck.recognition.class_count import ClassAxis
from collapsecheck.recognition.index import Index, Known, Pair, pack


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One variant of an architecture, before it is numbered."""

    name: str
    shapes: Shapes
    kinds: Mapping[str, str] = field(default_factory=dict)
    axes: tuple[ClassAxis, ...] = ()
    resizable: frozenset[tuple[str, int]] = frozenset()
    untold: tuple[str, ...] = ()
    classifier: bool = False


Draw = Callable[[Iterable[str] | None], Iterator[Drawn]]


def build_index(library: str, names: Iterable[str] | None = None) -> Index:
    """Build the index of a library, of these names or all.

    Quantised twins, whose weights cannot be told from those of the model that they are made of, are left out.
    """
    module = importlib.import_module(f"collapsecheck.models.drawing.{library}")
    draw: Draw = module.draw
    return numbered(library, version(library), draw(names))


def numbered(library: str, release: str, drawn: Iterable[Drawn]) -> Index:
    """Give every pair of name and shape a number, and leave out equal twins."""
    numbers: dict[Pair, int] = {}
    found: list[Known] = []
    for one in drawn:
        tensors = [(name, shape) for name, shape in one.shapes.items() if shape is not None and not is_counter(name)]
        pairs = [numbers.setdefault(pair, len(numbers)) for pair in tensors]
        holders = dict.fromkeys(name.rpartition(".")[0] for name, _ in tensors)
        found.append(
            Known(
                name=one.name,
                pairs=pairs,
                table=(),
                axes=one.axes,
                resizable=one.resizable,
                untold=one.untold,
                classifier=one.classifier,
                kinds=[one.kinds.get(name, "") for name in holders],
            )
        )
    table = list(numbers)
    return Index(
        library=library, version=release, known=[replace(one, table=table) for one in without_twins(found)], table=table
    )


def without_twins(known: Iterable[Known]) -> Iterator[Known]:
    """Drop `quantized_X` where X has the very same weights, and variants that are none."""
    seen: dict[str, set[frozenset[int]]] = {}
    for one in sorted(known, key=lambda one: (one.name.startswith("quantized_"), one.name)):  # stable within a name
        signature = frozenset(one.pairs)
        of = one.name.removeprefix("quantized_")
        if signature not in seen.setdefault(of, set()):
            seen[of].add(signature)
            yield one


def kinds_in(module: nn.Module) -> dict[str, str]:
    """Classes of the parts of a model, by name."""
    return {name: type(one).__name__ for name, one in module.named_modules()}


def untold(module: nn.Module) -> tuple[str, ...]:
    """Name what changes the outputs of a model, but none of the shapes of its weights."""
    parts = list(module.modules())
    found = []
    if any(hasattr(one, "num_heads") for one in parts):
        found.append("number of attention heads")
    if any(hasattr(one, "shift_size") for one in parts):
        found.append("window shift")
    if any(isinstance(one, nn.Conv2d | nn.Conv3d) for one in parts):
        found.append("strides, padding, dilation, pooling")
    if getattr(module, "transform_input", None) is not None:
        found.append(f"transform_input={module.transform_input}")
    found.append("activations")
    if any(hasattr(one, "eps") for one in parts):
        found.append("eps of normalisations")
    return tuple(found)


def main() -> int:
    """Write the index beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", nargs="?", choices=["torchvision", "timm"], default="torchvision")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    index = build_index(arguments.library)
    packed = pack(index)
    path = arguments.output or Path(recognition.__path__[0]) / f"{arguments.library}.json.gz"
    path.write_bytes(packed)
    sys.stdout.write(
        f"{path.name}: {len(list(index.names))} architectures of {index.library} {index.version}, {len(packed)} bytes\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
