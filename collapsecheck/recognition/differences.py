"""Weights against one architecture, name by name: which of the differences users make, and which make it another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from collapsecheck.errors import printable
from collapsecheck.recognition.class_count import class_count
from collapsecheck.recognition.index import Known, Shape

FLAT = 2  # axes of the tensors that heads and projectors are made of


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What users changed of an architecture; the fields are those of `Match`."""

    classes: int | None = None
    channels: int | None = None
    resized: bool = False
    headless: str = ""
    foreign: tuple[str, ...] = ()


def changes(known: Known, given: Mapping[str, Shape]) -> Changes | None:
    """Return what was changed, None where the weights are those of another architecture.

    Everything but the head must be there, and nothing beside it within: another block in a stage, or a gate in each
    block, is another model, however many of the names and shapes are the same.
    """
    count = class_count(known.axes, given)
    full = known.with_classes(count)
    found = _of_trunk(known, full, given)
    foreign = _extras(known, given)
    if found is None or foreign is None:
        return None
    found = replace(found, foreign=foreign)
    if full != known.tensors:
        found = replace(found, classes=count)
    if not known.heads:
        return found
    expected = {name: shape for name, shape in full.items() if top(name) in known.heads}
    held = {name: shape for name, shape in given.items() if top(name) in known.heads}
    return found if held == expected else _of_head(known, found, expected, held)


def first_difference(known: Known, given: Mapping[str, Shape]) -> str:
    """Say about one weight why these are not of the architecture."""
    for name, shape in known.trunk.items():
        own = given.get(name)
        if own is None:
            return f"{name} is missing"
        if own != shape:
            return f"{name} is {_times(own)}, not {_times(shape)}"
    extra = next((name for name in given if name not in known.tensors), "")
    return f"there is also {printable(extra, 80)}" if extra else "its head differs"


def fits_trunk(known: Known, name: str, own: Shape | None, shape: Shape) -> Changes | None:
    """Return how one tensor of the trunk was changed, None if that makes it another model."""
    if own == shape:
        return Changes()
    if own is None or len(own) != len(shape) or min(own, default=1) < 1:
        return None
    axes = [axis for axis, size in enumerate(own) if size != shape[axis]]
    if name == known.stem and axes == [1]:
        return Changes(channels=own[1])
    if len(axes) == 1 and (name, axes[0]) in known.resizable:
        return Changes(resized=True)
    return None


def _of_trunk(known: Known, full: Mapping[str, Shape], given: Mapping[str, Shape]) -> Changes | None:
    found = Changes()
    for name in known.trunk:
        if given.get(name) == full[name]:  # nearly all of them are
            continue
        one = fits_trunk(known, name, given.get(name), full[name])
        if one is None:
            return None
        found = replace(found, channels=one.channels or found.channels, resized=one.resized or found.resized)
    return found


def _extras(known: Known, given: Mapping[str, Shape]) -> tuple[str, ...] | None:
    """Return the parts that the architecture does not have, None if they may work inside it.

    Heads and projectors are matrices and vectors, and parts of their own; convolutions beside the trunk are attention
    modules or decoders.
    """
    extras = [name for name in given if name not in known.tensors and top(name) not in known.heads]
    if not extras:
        return ()
    own = {top(name) for name in known.tensors}
    if not known.heads or any(top(name) in own or len(given[name]) > FLAT for name in extras):
        return None
    return parts(extras)


def _of_head(known: Known, found: Changes, expected: Mapping[str, Shape], held: Mapping[str, Shape]) -> Changes | None:
    """Say what became of a head that is not as published."""
    main = known.heads[-1]
    missing = [name for name in expected if name not in held]
    if any(top(name) != main for name in (*missing, *(name for name in held if held[name] != expected.get(name)))):
        return None  # auxiliary heads are whole, or not there
    if all(expected.get(name) == shape for name, shape in held.items()):
        part = _emptied(missing, expected)
        if part is not None:
            return replace(found, headless=part, classes=None)
    if any(len(shape) > FLAT and name not in expected for name, shape in held.items()):
        return None
    return replace(found, headless=main, classes=None, foreign=(*found.foreign, f"{main}."))


def _emptied(missing: Sequence[str], expected: Mapping[str, Shape]) -> str | None:
    """Return the part of a model whose weights are all missing, if that explains what is, and it is the last."""
    names = list(expected)
    if not missing or names[-1] not in missing:
        return None
    path = missing[0].split(".")[:-1]
    while path:
        part = ".".join(path)
        inside = [name for name in names if name.startswith(f"{part}.")]
        if not set(inside) <= set(missing):
            return None
        if len(inside) == len(missing):
            return _widest(part, names, set(missing))
        path = path[:-1]
    return None


def _widest(part: str, names: Iterable[str], missing: set[str]) -> str:
    """Go up as long as everything below is missing: `heads` rather than `heads.head`."""
    names = list(names)
    while "." in part:
        above = part.rpartition(".")[0]
        if any(name.startswith(f"{above}.") and name not in missing for name in names):
            break
        part = above
    return part


def _times(shape: Shape) -> str:
    return "×".join(map(str, shape)) or "scalar"


def top(name: str) -> str:
    """Top-level part of a name."""
    return name.partition(".")[0]


def parts(names: Iterable[str], below: str = "") -> tuple[str, ...]:
    """Beginnings that cover names, each once: the first component that is not one of `below`."""
    found: dict[str, None] = {}
    shared = below.split(".")[:-1]
    for name in names:
        path = name.split(".")
        depth = 0
        while depth < min(len(shared), len(path) - 1) and path[depth] == shared[depth]:
            depth += 1
        whole = depth + 1 == len(path)
        found[name if whole else ".".join(path[: depth + 1]) + "."] = None
    return tuple(found)
