"""Which name in a checkpoint is which name in a module: wrappers and prefixes are taken off, and said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from collapsecheck.checkpoints import StoredTensor

Shape = tuple[int, ...] | None  # None: not decided yet (lazy modules) or not a tensor; fits everything
Shapes = Mapping[str, Shape]
Rename = Callable[[str], str]

_COUNTERS = ("num_batches_tracked",)  # only counts; absent from files of torch < 0.4.1
_FOREIGN = ("total_ops", "total_params", "n_averaged")  # left in by profilers and by averaging
_ANYWHERE = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_DEEPEST = 16  # a name from a hostile file may have any number of dots


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """How names of the checkpoint become names of the module.

    `matched` counts those whose name and shape then fit, `unexpected` those whose name the module does not
    have. `stripped` are the prefixes taken off, `added` is the one put in front. `by_table` says that the modules
    of the checkpoint are not those of the module, and the names were given one by one.
    """

    names: Mapping[str, str]
    rename: Rename
    stripped: tuple[str, ...]
    added: str
    matched: int
    unexpected: int
    by_table: bool = False


def stored_shape(value: object) -> Shape:
    """Return the shape of an entry of a state dict in a file."""
    return value.shape if isinstance(value, StoredTensor) else None


def stored_shapes(tensors: Mapping[str, Any]) -> Shapes:
    """Shapes of the entries of a state dict in a file, by name."""
    return {name: stored_shape(value) for name, value in tensors.items()}


def is_counter(name: str) -> bool:
    """Whether a name is one of those that only count, in modules or by profilers: models are alike without them."""
    return name.rpartition(".")[2] in (*_COUNTERS, *_FOREIGN)


def is_foreign(name: str) -> bool:
    """Whether a name is one that profilers and averaging leave behind: no module asks for it."""
    return name.rpartition(".")[2] in _FOREIGN


def fits(one: Shape, other: Shape) -> bool:
    """Whether weights of one shape go into a parameter of the other."""
    return one is None or other is None or one == other


def align(given: Shapes, expected: Shapes, renamed: Mapping[str, str] | None = None) -> Alignment:
    """Find the renaming under which most of the given names and shapes are those that the module expects.

    What DistributedDataParallel, torch.compile, FSDP and activation checkpointing put into names goes first.
    Then one common prefix is taken off or put in front, and only where that makes the weights fit: a
    `backbone.` that the module has itself stays. `renamed` gives names of the module for names of the checkpoint,
    where somebody knows them already; then nothing else is tried.
    """
    if renamed and not given.keys().isdisjoint(renamed):
        return _by_table(given, expected, renamed)
    best: Alignment | None = None
    for clean, names in cleanings(given):
        found = _with_prefix(names, clean, given, expected)
        if best is None or found.matched > best.matched:
            best = found
    if best is None:
        raise AssertionError("unchanged names are distinct")
    return best


def cleanings(given: Shapes) -> Iterator[tuple[Rename, Mapping[str, str]]]:
    """Yield ways to take wrappers out of names, the most thorough first, and what they make of the given ones."""
    for clean in (_without_wrappers, _without_module_anywhere, _unchanged):
        names = {name: clean(name) for name in given}
        if len(set(names.values())) == len(names):
            yield clean, names


def _by_table(given: Shapes, expected: Shapes, renamed: Mapping[str, str]) -> Alignment:
    names = {name: renamed.get(name, name) for name in given}
    return Alignment(
        names=names,
        rename=lambda name: renamed.get(name, name),
        stripped=(),
        added="",
        matched=sum(new in expected and fits(given[old], expected[new]) for old, new in names.items()),
        unexpected=sum(new not in expected for new in names.values()),
        by_table=True,
    )


def _with_prefix(names: Mapping[str, str], clean: Rename, given: Shapes, expected: Shapes) -> Alignment:
    shapes = {names[name]: shape for name, shape in given.items()}
    strip, add = _common_prefix(shapes, expected)

    def rename(name: str) -> str:
        return add + clean(name).removeprefix(strip)

    renamed = {name: rename(name) for name in given}
    if len(set(renamed.values())) < len(renamed):  # two names would become one
        strip = ""
        renamed = {name: rename(name) for name in given}
    wrappers = (f"{part}." for part in (*_ANYWHERE, "module"))
    stripped = [part for part in wrappers if any(_has(name, part) and not _has(names[name], part) for name in given)]
    return Alignment(
        names=renamed,
        rename=rename,
        stripped=(*stripped, strip) if strip else tuple(stripped),
        added=add,
        matched=sum(new in expected and fits(given[old], expected[new]) for old, new in renamed.items()),
        unexpected=sum(new not in expected for new in renamed.values()),
    )


def _common_prefix(given: Shapes, expected: Shapes) -> tuple[str, str]:
    """Return the prefix to take off and the one to put in front; at most one of them is not empty.

    Every pair of a given name and an expected one that ends the other votes for what lies between.
    """
    off: Counter[str] = Counter()
    front: Counter[str] = Counter()
    for name, shape in given.items():
        off.update(before for before, end in cuts(name) if end in expected and fits(shape, expected[end]))
    for name, shape in expected.items():
        front.update(before for before, end in cuts(name) if end in given and fits(shape, given[end]))
    as_it_is = off.pop("", 0)
    front.pop("", 0)
    votes = [(count, -len(prefix), prefix, "") for prefix, count in off.items()]
    votes += [(count, -len(prefix), "", prefix) for prefix, count in front.items()]
    if not votes:
        return "", ""
    count, _, strip, add = max(votes, key=lambda vote: vote[:2])  # the first of equals: the student, not its teacher
    enough = count > as_it_is and 2 * count >= min(len(given), len(expected))
    return (strip, add) if enough else ("", "")


def cuts(name: str) -> Iterator[tuple[str, str]]:
    """Yield ("", "a.b.c"), ("a.", "b.c"), ("a.b.", "c")."""
    start = 0
    for _ in range(_DEEPEST):
        yield name[:start], name[start:]
        start = name.find(".", start) + 1
        if not start:
            return


def _unchanged(name: str) -> str:
    return name


def _without_wrappers(name: str) -> str:
    parts = [part for part in name.split(".") if part not in _ANYWHERE]
    while len(parts) > 1 and parts[0] == "module":
        del parts[0]
    return ".".join(parts)


def _without_module_anywhere(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in (*_ANYWHERE, "module"))


def _has(name: str, part: str) -> bool:
    return f".{part}" in f".{name}"
