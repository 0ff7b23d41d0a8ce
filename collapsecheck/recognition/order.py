"""The second try: weights with names of their own whose shapes come in the very order of a known architecture.

So do models that were repackaged (`nn.Sequential(*list(resnet50.children())[:-1])`), and older or copied definitions
that call their blocks by other names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from collapsecheck.recognition.alignment import Shapes, is_counter
from collapsecheck.recognition.differences import FLAT, Changes, fits_trunk, parts, top
from collapsecheck.recognition.index import Index, Known, Shape
from collapsecheck.recognition.match import Match
from collapsecheck.recognition.matching import best

_GLANCE = 3  # tensors that are looked at before all are
_FEWEST = 20  # tensors; shorter sequences of shapes may be alike by chance
Renamed = dict[str, str]


def matches_in_order(given: Shapes, index: Index) -> list[Match]:
    """Return the architectures whose shapes are those of the weights, in order; several only if they fit alike.

    All of the trunk must be there, from the first tensor on, under names that end alike (`weight`, `running_var`). What
    comes after it may be the head for any number of classes, nothing, or a few matrices and vectors.
    """
    found = []
    for inner, outside in _pieces(given):
        if len(inner) >= _FEWEST:
            found += [
                replace(one, outside=parts(outside))
                for known in index.known
                if (one := _in_order(known, inner, given)) is not None
            ]
        if found:
            break
    return best(found)


def _pieces(given: Shapes) -> Iterator[tuple[dict[str, Shape], list[str]]]:
    """Yield all weights, then those of each top-level part alone; and the names that are left over."""
    weights = {name: shape for name, shape in given.items() if shape is not None and not is_counter(name)}
    yield weights, []
    tops = list(dict.fromkeys(map(top, weights)))
    if 1 < len(tops) <= 8:
        for one in tops:
            outside = [name for name in weights if top(name) != one]
            yield {name: shape for name, shape in weights.items() if top(name) == one}, outside


def _begins_alike(known: Known, given: Mapping[str, Shape]) -> bool:
    """Whether the first shapes are near those of the weights; of nearly all architectures they are not."""
    first = (known.table[number] for number in known.pairs[:_GLANCE])
    for (name, shape), own in zip(first, given.values(), strict=False):
        if len(own) != len(shape) or (
            any(size != expected and axis != 1 for axis, (size, expected) in enumerate(zip(own, shape, strict=True)))
            and not any(one == name for one, _ in known.resizable)
        ):
            return False
    return True


def _in_order(known: Known, given: Mapping[str, Shape], all_given: Shapes) -> Match | None:
    if not _begins_alike(known, given):
        return None
    trunk, names = known.trunk, list(given)
    if not _FEWEST <= len(trunk) <= len(given) or list(known.tensors)[: len(trunk)] != list(trunk):
        return None
    renamed = dict(zip(names, trunk, strict=False))
    found = _of_trunk(known, renamed, given)
    if found is None:
        return None
    rest, head = names[len(trunk) :], list(known.tensors)[len(trunk) :]
    if head:
        ended = _of_head(known, found, rest, head, given)
        if ended is None:
            return None
        found, more = ended
        renamed |= more
    elif rest:
        return None
    table = _with_counters(renamed, all_given)
    if table is None or not _apart(table, all_given, known):
        return None
    left = sum(name not in renamed for name in given)
    return Match(
        name=known.name,
        kind="given-order",
        score=(len(renamed) - (len(known.tensors) - len(renamed)) - 0.5 * left) / len(known.tensors),
        matched=len(renamed),
        of=len(known.tensors),
        explained=len(renamed) / len(given),
        classes=found.classes,
        channels=found.channels,
        resized=found.resized,
        headless=found.headless,
        foreign=found.foreign,
        untold=known.untold,
        renamed=table,
    )


def _of_trunk(known: Known, renamed: Mapping[str, str], given: Mapping[str, Shape]) -> Changes | None:
    """Compare the trunk tensor by tensor; most architectures differ in one of the first."""
    found = Changes()
    for old, new in renamed.items():
        if given[old] == known.trunk[new] and _last(old) == _last(new):
            continue
        one = fits_trunk(known, new, given[old], known.trunk[new]) if _last(old) == _last(new) else None
        if one is None:
            return None
        found = replace(found, channels=one.channels or found.channels, resized=one.resized or found.resized)
    return found


def _of_head(
    known: Known, found: Changes, rest: Sequence[str], head: Sequence[str], given: Mapping[str, Shape]
) -> tuple[Changes, Renamed] | None:
    """Say what the tensors after the trunk are."""
    if len(known.heads) > 1:
        return None  # auxiliary heads lie between the parts of the trunk
    renamed = dict(zip(rest, head, strict=False))
    if len(rest) == len(head) and all(_last(old) == _last(new) for old, new in renamed.items()):
        by_name = {new: given[old] for old, new in renamed.items()}
        counts = {one.classes(by_name.get(one.name)) for one in known.axes}
        count = counts.pop() if len(counts) == 1 else None
        full = known.with_classes(count)
        if count is not None and all(full[name] == shape for name, shape in by_name.items()):
            return replace(found, classes=None if full == known.tensors else count), renamed
    if any(len(given[name]) > FLAT for name in rest):
        return None
    return replace(found, headless=known.heads[-1], foreign=parts(rest)), {}


def _with_counters(renamed: Mapping[str, str], given: Shapes) -> Renamed | None:
    """Add the counters of normalisations, by the modules they are in; None if modules do not correspond."""
    modules: dict[str, str] = {}
    for old, new in renamed.items():
        if modules.setdefault(_module(old), _module(new)) != _module(new):
            return None
    if len(set(modules.values())) < len(modules):
        return None
    counters = {
        name: f"{modules[_module(name)]}.{_last(name)}"
        for name in given
        if is_counter(name) and _last(name) == "num_batches_tracked" and _module(name) in modules
    }
    return {**renamed, **counters}


def _apart(renamed: Mapping[str, str], given: Shapes, known: Known) -> bool:
    """Whether what is not renamed has no name that the model has too."""
    return not any(name in known.tensors for name in given if name not in renamed)


def _module(name: str) -> str:
    return name.rpartition(".")[0]


def _last(name: str) -> str:
    return name.rpartition(".")[2]
