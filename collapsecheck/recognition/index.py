"""What published models look like: names and shapes of their weights, in order, and what depends on options.

Shipped beside this file as `LIBRARY.json.gz`, made by `build_index.py`; reading it needs neither torch nor the library.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from itertools import accumulate
from typing import Any

from collapsecheck.recognition.class_count import ClassAxis

FORMAT = 2
Shape = tuple[int, ...]
Pair = tuple[str, Shape]
_FEWEST_IN_TRUNK = 8  # tensors; fewer of the same names and shapes are no proof


@dataclass(frozen=True, kw_only=True)
class Known:
    """One architecture, or a variant of it with other options.

    `tensors` are names and shapes in the order in which they are saved, without the counters of BatchNorm. `axes`
    depend on the number of classes. `resizable` are (name, axis) that depend on the size of images. `untold` names
    what the weights do not tell. `classifier` says that its end is a head of classes, which can be taken off. `kinds`
    are the classes of the modules that have tensors of their own, in order.
    """

    name: str
    pairs: Sequence[int]  # positions in `table`
    table: Sequence[Pair]
    axes: tuple[ClassAxis, ...]
    resizable: frozenset[tuple[str, int]]
    untold: tuple[str, ...]
    classifier: bool
    kinds: Sequence[str] = ()

    @cached_property
    def modules(self) -> dict[str, str]:
        """Class of each module that has tensors of its own, by name, in order."""
        names = dict.fromkeys(name.rpartition(".")[0] for name in self.tensors)
        return dict(zip(names, self.kinds, strict=True))

    @cached_property
    def tensors(self) -> dict[str, Shape]:
        """Shapes by name, in order."""
        return dict(map(self.table.__getitem__, self.pairs))

    @cached_property
    def heads(self) -> tuple[str, ...]:
        """Top-level parts that make classes, the main one last; empty where they are no part of their own."""
        if not self.classifier:
            return ()
        heads = dict.fromkeys(one.name.partition(".")[0] for one in self.axes)
        trunk = sum(name.partition(".")[0] not in heads for name in self.tensors)
        return tuple(heads) if trunk >= max(_FEWEST_IN_TRUNK, len(self.tensors) / 2) else ()

    @cached_property
    def trunk(self) -> dict[str, Shape]:
        """What is left without the heads."""
        return {name: shape for name, shape in self.tensors.items() if name.partition(".")[0] not in self.heads}

    @cached_property
    def stem(self) -> str | None:
        """Name of the convolution that takes the images, if other numbers of channels are possible."""
        images = (name for name, shape in self.trunk.items() if len(shape) >= 4 and shape[1] == 3)
        return next(images, None) if self.heads else None

    def with_classes(self, count: int | None) -> Mapping[str, Shape]:
        """Shapes by name for so many classes, None for the default."""
        if count is None:
            return self.tensors
        shapes = dict(self.tensors)
        for one in self.axes:
            shape = list(shapes[one.name])
            shape[one.axis] = one.size(count)
            shapes[one.name] = tuple(shape)
        return shapes


@dataclass(frozen=True, kw_only=True)
class Index:
    """All architectures of a library at one version."""

    library: str
    version: str
    known: Sequence[Known]
    table: Sequence[Pair]

    @cached_property
    def numbers(self) -> dict[Pair, int]:
        """Position of each (name, shape) in the table."""
        return {pair: number for number, pair in enumerate(self.table)}

    @cached_property
    def holders(self) -> list[list[int]]:
        """Positions in `known` of the architectures that have a (name, shape), by its position in the table."""
        found: list[list[int]] = [[] for _ in self.table]
        for position, one in enumerate(self.known):
            for pair in one.pairs:
                found[pair].append(position)
        return found

    @property
    def names(self) -> Iterator[str]:
        """Names of the architectures, each once."""
        return iter(dict.fromkeys(one.name for one in self.known))

    def without(self, names: frozenset[str]) -> Index:
        """Leave architectures out."""
        known = [one for one in self.known if one.name not in names]
        return Index(library=self.library, version=self.version, known=known, table=self.table)


@lru_cache(maxsize=4)
def shipped(library: str) -> Index | None:
    """Return the index that comes with the package, None if it has none of this library."""
    packed = files(__package__) / f"{library}.json.gz"
    return unpack(packed.read_bytes()) if packed.is_file() else None


def pack(index: Index) -> bytes:
    """Write an index; the same index gives the same bytes."""
    names = list(dict.fromkeys(name for name, _ in index.table))
    shapes = list(dict.fromkeys(shape for _, shape in index.table))
    kinds = list(dict.fromkeys(kind for one in index.known for kind in one.kinds))
    name_of, shape_of, kind_of = ({one: i for i, one in enumerate(all_)} for all_ in (names, shapes, kinds))
    content = {
        "format": FORMAT,
        "library": index.library,
        "version": index.version,
        "names": names,
        "shapes": shapes,
        "kinds": kinds,
        "table": [[name_of[name], shape_of[shape]] for name, shape in index.table],
        "known": [
            {
                "name": one.name,
                "pairs": _steps(one.pairs),
                "axes": [[axis.name, axis.axis, axis.per_class, axis.more] for axis in one.axes],
                "resizable": sorted(one.resizable),
                "untold": one.untold,
                "classifier": one.classifier,
                "kinds": [kind_of[kind] for kind in one.kinds],
            }
            for one in index.known
        ],
    }
    return gzip.compress(json.dumps(content, separators=(",", ":")).encode(), mtime=0)


def unpack(packed: bytes) -> Index:
    """Read what `pack` wrote.

    Raises
    ------
    ValueError
        If it is of another format, or damaged.
    """
    content: Mapping[str, Any] = json.loads(gzip.decompress(packed))
    if content.get("format") != FORMAT:
        raise ValueError(f"index of format {content.get('format')}, expected {FORMAT}")
    names, shapes = content["names"], [tuple(shape) for shape in content["shapes"]]
    kinds = content["kinds"]
    table = [(names[name], shapes[shape]) for name, shape in content["table"]]
    known = [
        Known(
            name=one["name"],
            pairs=_sums(one["pairs"]),
            table=table,
            axes=tuple(ClassAxis(name=n, axis=a, per_class=p, more=m) for n, a, p, m in one["axes"]),
            resizable=frozenset((name, axis) for name, axis in one["resizable"]),
            untold=tuple(one["untold"]),
            classifier=one["classifier"],
            kinds=[kinds[kind] for kind in one["kinds"]],
        )
        for one in content["known"]
    ]
    return Index(library=content["library"], version=content["version"], known=known, table=table)


def _steps(numbers: Sequence[int]) -> list[int]:
    """Differences of neighbours: most are 1, which packs well."""
    return [number - before for before, number in zip((0, *numbers[:-1]), numbers, strict=True)]


def _sums(steps: Sequence[int]) -> list[int]:
    return list(accumulate(steps))
