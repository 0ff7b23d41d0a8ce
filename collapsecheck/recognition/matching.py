"""Weights against all known architectures, by name and shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from heapq import nlargest

from collapsecheck.recognition.alignment import Shapes, cleanings, cuts, is_counter
from collapsecheck.recognition.differences import Changes, changes, first_difference, parts
from collapsecheck.recognition.index import Index, Known, Shape
from collapsecheck.recognition.match import KINDS, Kind, Match

_PREFIXES = 4  # tried at most
_COVERED = 0.3  # of all names, by a prefix
_WEAK = 0.6  # of the architecture's weights; with fewer it is another
_COMPARED = 64  # architectures that are looked at name by name
_MOST = 50_000  # tensors; no published model has as many


def matches(given: Shapes, index: Index) -> list[Match]:
    """Return the architectures that fit best, all of them if several fit alike; empty if none fits at all.

    Parameters
    ----------
    given
        Names and shapes of the weights; wrappers and a common prefix may be in front of the names.
    index
        What is known.

    Notes
    -----
    Only matches that are `sound` may be built; others are returned where there is none, to be talked about.
    """
    found: list[Match] = []
    compared: set[tuple[str, ...]] = set()
    for shapes in _cleaned(given):
        for prefix in _prefixes(shapes, index):
            inner = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
            if tuple(inner) in compared:  # a wrapper's name, taken for a prefix
                continue
            compared.add(tuple(inner))
            outside = [name for name in shapes if not name.startswith(prefix)]
            found += (_compared(one, inner, prefix, outside) for one in _near(inner, index))
    return best(found)


def best(found: Iterable[Match]) -> list[Match]:
    """Keep the best of the sound matches, or of the others where there are none; each name once."""
    known: dict[str, Match] = {}
    for one in found:
        if one.name not in known or _rank(one) > _rank(known[one.name]):
            known[one.name] = one
    if not known:
        return []
    highest = max(map(_rank, known.values()))
    return [one for one in known.values() if _rank(one) == highest]


def _rank(match: Match) -> tuple[bool, float, int]:
    """Put sound matches first, and of these the one that has a place for most of the weights.

    How large a head is that is not in the file says nothing: models that differ in nothing else fit alike.
    """
    return match.sound, round(match.explained if match.sound else match.score, 9), -KINDS.index(match.kind)


def _cleaned(given: Shapes) -> Iterator[dict[str, Shape]]:
    """Yield the shapes under names without wrappers, each set of names once."""
    weights = {name: shape for name, shape in given.items() if shape is not None and not is_counter(name)}
    seen: list[set[str]] = []
    if len(weights) > _MOST:
        return
    for _, names in cleanings(weights):
        if set(names.values()) not in seen:
            seen.append(set(names.values()))
            yield {names[name]: shape for name, shape in weights.items()}


def _prefixes(shapes: Mapping[str, Shape], index: Index) -> list[str]:
    """Return the prefixes behind which most names and shapes are known, the best first."""
    votes = Counter(
        before for name, shape in shapes.items() for before, end in cuts(name) if (end, shape) in index.numbers
    )
    return [prefix for prefix, count in votes.most_common(_PREFIXES) if count >= _COVERED * len(shapes)]


def _near(inner: Mapping[str, Shape], index: Index) -> list[Known]:
    """Return the architectures of which most of the names and shapes are there."""
    counts: Counter[int] = Counter()
    for pair in inner.items():
        number = index.numbers.get(pair)
        if number is not None:
            counts.update(index.holders[number])
    near = [(count, position) for position, count in counts.items() if _enough(count, index.known[position])]
    closest = nlargest(
        _COMPARED, near, key=lambda one: (2.5 * one[0] - len(index.known[one[1]].pairs), -one[1])
    )  # the score, but for what is common to all
    return [index.known[position] for _, position in closest]


def _enough(count: int, known: Known) -> bool:
    return count >= _WEAK * len(known.pairs) or (bool(known.heads) and count >= _WEAK * len(known.trunk))


def _compared(known: Known, inner: Mapping[str, Shape], prefix: str, outside: list[str]) -> Match:
    tensors = known.tensors
    common = [name for name in inner if name in tensors]
    matched = sum(inner[name] == tensors[name] for name in common)
    missing, wrong, unexpected = len(tensors) - len(common), len(common) - matched, len(inner) - len(common)
    score = (matched - missing - wrong - 0.5 * unexpected - 0.25 * len(outside)) / len(tensors)
    found = changes(known, inner)
    kind: Kind
    if found is None:
        kind, found = "weak" if matched < _WEAK * len(tensors) else "partial", Changes()
    elif found.channels is not None:
        kind = "stem-changed"
    elif found.headless or found.classes is not None or found.resized:
        kind = "head-changed"
    else:
        kind = "exact+extra" if found.foreign or outside else "exact"
    return Match(
        name=known.name,
        kind=kind,
        score=score,
        matched=matched,
        of=len(tensors),
        explained=sum(not name.startswith(found.foreign) for name in inner) / (len(inner) + len(outside)),
        prefix=prefix,
        classes=found.classes,
        channels=found.channels,
        resized=found.resized,
        headless=found.headless,
        foreign=found.foreign,
        outside=parts(outside, prefix),
        untold=known.untold,
        differs=first_difference(known, inner) if kind == "partial" else "",
    )
