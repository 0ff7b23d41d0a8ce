"""Which numbered entry of an optimiser belongs to which parameter, told by the order of both and by their shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

Shape = tuple[int, ...]

# Comparisons of one entry with one parameter, beyond which it is left open which belongs to which.
_MOST = 4_000_000
# Entries behind those of the model that may be a head which was not saved with it; they must be the fewer, too.
_LARGEST_HEAD = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """How entries and parameters belong together, as far as it is certain.

    `places` are parameters by entry, of those with a single possible one. `missing` are the parameters that no entry
    can be of, `missing_count` how many there are for sure; it is more than `missing` names where several could be the
    one. `extra` is the number of entries that are of no parameter: of a head, say, that was not saved.
    """

    places: dict[int, int]
    missing: tuple[int, ...]
    missing_count: int
    extra: int = 0


def align(entries: Sequence[Shape | None], shapes: Sequence[Shape]) -> Alignment | None:
    """Match entries with parameters; None where they do not fit.

    Entries come in the order of the parameters, but may leave out some (which are frozen or were forgotten), or hold
    others besides. Tried in this order: all of them; fewer entries, as a subsequence of the parameters; more entries,
    as one block of the parameters somewhere between others; a subsequence and a head behind it; and at last, for
    groups in an order of their own, whatever has a shape that occurs once. The order is that of the model, or that of
    its matrices and then its vectors, or the other way round.

    Parameters
    ----------
    entries
        The shape of each entry, None where it has no state that would tell.
    shapes
        The shape of each parameter, in the order of the model.
    """
    if not entries or not shapes:
        return None
    for way in (_in_order, _with_head):
        for order in _orders(shapes):
            found = way(entries, [shapes[place] for place in order])
            if found is not None:
                return replace(
                    found,
                    places={index: order[place] for index, place in found.places.items()},
                    missing=tuple(sorted(order[place] for place in found.missing)),
                )
    return _by_shape(entries, shapes)


def _orders(shapes: Sequence[Shape]) -> list[list[int]]:
    """The order of the model, and those of two groups: matrices, which decay, and vectors, which do not."""
    everything = list(range(len(shapes)))
    matrices = [place for place in everything if len(shapes[place]) > 1]
    vectors = [place for place in everything if len(shapes[place]) < 2]
    return [everything, matrices + vectors, vectors + matrices]


def _in_order(entries: Sequence[Shape | None], shapes: Sequence[Shape]) -> Alignment | None:
    return subsequence(entries, shapes) if len(entries) <= len(shapes) else _block(entries, shapes)


def subsequence(entries: Sequence[Shape | None], shapes: Sequence[Shape]) -> Alignment | None:
    """Find every place that an entry can have where all keep their order; None where there is no such way.

    What is leftmost for each entry, and what is rightmost, bounds its places: any parameter of its shape between the
    two is possible, since those before fit in front of it and those after fit behind.
    """
    first = _leftmost(entries, shapes)
    if first is None:
        return None
    last = [len(shapes) - 1 - place for place in reversed(_leftmost(entries[::-1], shapes[::-1]) or [])]
    missing_count = len(shapes) - len(entries)
    if sum(b - a + 1 for a, b in zip(first, last, strict=True)) > _MOST:
        return Alignment(places={}, missing=(), missing_count=missing_count)
    places: dict[int, int] = {}
    possible: set[int] = set()
    for index, (entry, low, high) in enumerate(zip(entries, first, last, strict=True)):
        found = [place for place in range(low, high + 1) if entry is None or shapes[place] == entry]
        possible.update(found)
        if len(found) == 1:
            places[index] = found[0]
    missing = tuple(place for place in range(len(shapes)) if place not in possible)
    return Alignment(places=places, missing=missing, missing_count=missing_count)


def _leftmost(entries: Sequence[Shape | None], shapes: Sequence[Shape]) -> list[int] | None:
    found, place = [], 0
    for entry in entries:
        while place < len(shapes) and entry is not None and shapes[place] != entry:
            place += 1
        if place >= len(shapes):
            return None
        found.append(place)
        place += 1
    return found


def _block(entries: Sequence[Shape | None], shapes: Sequence[Shape]) -> Alignment | None:
    """All parameters in one piece, with entries of something else around it; open where two places are possible."""
    extra = len(entries) - len(shapes)
    if (extra + 1) * len(shapes) > _MOST:
        return None
    starts = [
        start
        for start in range(extra + 1)
        if all(
            entry is None or entry == shape
            for entry, shape in zip(entries[start : start + len(shapes)], shapes, strict=True)
        )
    ]
    if not starts:
        return None
    only = {starts[0] + place: place for place in range(len(shapes))} if len(starts) == 1 else {}
    return Alignment(places=only, missing=(), missing_count=0, extra=extra)


def _with_head(entries: Sequence[Shape | None], shapes: Sequence[Shape]) -> Alignment | None:
    """Some of the parameters, and a head behind them that the model does not have."""
    for extra in range(1, min(_LARGEST_HEAD, (len(entries) - 1) // 2) + 1):
        body, head = entries[:-extra], entries[-extra:]
        if len(body) <= len(shapes) and head[0] is not None and any(body):
            found = subsequence(body, shapes)
            if found is not None:
                return replace(found, extra=extra)
    return None


def _by_shape(entries: Sequence[Shape | None], shapes: Sequence[Shape]) -> Alignment | None:
    """Groups in an order of their own, such as one per layer from the last to the first: by what is unique.

    The order is no evidence then, so that some may be left out, or others be there besides, but not both.
    """
    held, there = Counter(entries), Counter(shapes)
    missing_count = sum(max(count - held[shape], 0) for shape, count in there.items())
    extra = len(entries) - len(shapes) + missing_count
    if None in held or (extra and missing_count) or extra > min(_LARGEST_HEAD, (len(entries) - 1) // 2):
        return None
    place_of = {shape: place for place, shape in enumerate(shapes) if there[shape] == held[shape] == 1}
    return Alignment(
        places={index: place_of[entry] for index, entry in enumerate(entries) if entry in place_of},
        missing=tuple(place for place, shape in enumerate(shapes) if not held[shape]),
        missing_count=missing_count,
        extra=extra,
    )
