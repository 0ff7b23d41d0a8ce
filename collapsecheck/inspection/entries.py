"""The entries at the top of a checkpoint: what each is, and what a scan would do with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from collapsecheck.checkpoints.plain_values import key_text, plain
from collapsecheck.checkpoints.records import ModuleRecord, Name, Stand
from collapsecheck.checkpoints.state_dicts import Found, StateDict
from collapsecheck.checkpoints.stored import StoredTensor
from collapsecheck.checkpoints.training_state import TrainingState, traces_of_training
from collapsecheck.reports.inspection import Entry, Use

_LONGEST_VALUE = 60  # characters
_MOST_VISITED = 1_000_000


@dataclass(slots=True)
class _Size:
    tensors: int = 0
    numbers: int = 0
    bytes: int = 0


def describe_entries(
    content: Any, found: Found | None, chosen: StateDict | None, training: TrainingState
) -> tuple[Entry, ...]:
    """Describe every entry at the top; tensors that lie there are one entry, whose key is ""."""
    if isinstance(content, ModuleRecord):
        size = _size(content)
        return (_entry(("", f"module {content.path}", ""), size, Use.CHOSEN, "the whole model"),)
    if not isinstance(content, Mapping):
        return ()
    within = _roots_of(content, chosen)
    loose = {name: held for name, held in content.items() if isinstance(held, StoredTensor)}
    found_entries = []
    if loose:
        use, why = _use("", found, chosen, within)
        found_entries.append(_entry(("", "tensors", ""), _size(loose), use, why))
    for given, held in content.items():
        if given in loose:
            continue
        name = key_text(given)
        use, why = _use(name, found, chosen, within)
        if use is Use.IGNORED and traces_of_training(name, held, training):
            use, why = Use.TRAINING_STATE, ""
        kind, shown = _kind(name, held, training, is_weights=use in (Use.CHOSEN, Use.OTHER_WEIGHTS, Use.MOVING_AVERAGE))
        found_entries.append(_entry((name, kind, shown), _size(held), use, why))
    return tuple(found_entries)


def _entry(what: tuple[str, str, str], size: _Size, use: Use, why: str) -> Entry:
    key, kind, shown = what
    return Entry(
        key=key, kind=kind, shown=shown, tensors=size.tensors, numbers=size.numbers, bytes=size.bytes, use=use, why=why
    )


def _roots_of(content: Mapping[Any, Any], chosen: StateDict | None) -> frozenset[str]:
    """Return the entries in which the chosen weights lie."""
    if chosen is None:
        return frozenset()
    if chosen.key:
        around = [name for name in content if isinstance(name, str) and f"{chosen.key}.".startswith(f"{name}.")]
        return frozenset([max(around, key=len)] if around else [])
    heads = {name.partition(".")[0] for name in chosen.tensors}
    return frozenset(
        name for name in content if isinstance(name, str) and (name in chosen.tensors or name in heads)
    ) | {""}


def _use(name: str, found: Found | None, chosen: StateDict | None, within: frozenset[str]) -> tuple[Use, str]:
    if name in within:
        inner = chosen.key if chosen is not None and chosen.key != name else ""
        return Use.CHOSEN, f"at {inner}" if inner else ""
    if found is None:
        return Use.IGNORED, ""
    for key in found.averaged:
        if f"{key}.".startswith(f"{name}."):
            return Use.MOVING_AVERAGE, f"--key {key}"
    for one in found.usable:
        if (one.key and f"{one.key}.".startswith(f"{name}.")) or (not one.key and not name):
            return Use.OTHER_WEIGHTS, f"--key {one.key}" if one.key else "no --key"
    return Use.IGNORED, ""


def _kind(name: str, held: Any, training: TrainingState, *, is_weights: bool) -> tuple[str, str]:
    """Return what an entry is, and its value where that is short."""
    if isinstance(held, ModuleRecord):
        return f"module {held.path}", ""
    if isinstance(held, Mapping | list | tuple | Stand):
        optimisers = [one for one in training.optimisers if f"{one.key}.".startswith(f"{name}.")]
        if optimisers and not is_weights:
            kinds = ", ".join(dict.fromkeys(one.kind or "unknown kind" for one in optimisers))
            return "optimiser", kinds
        if isinstance(held, Stand):
            return "object", held.path
        return ("weights" if is_weights else "mapping" if isinstance(held, Mapping) else "list"), f"{len(held)} entries"
    if isinstance(held, Name):
        return "class", held.path
    shown = plain(held)
    kinds_of_values = {bool: "yes or no", int: "number", float: "number", str: "text", type(None): "nothing"}
    text = "" if held is None else str(shown)
    return kinds_of_values.get(type(held), type(held).__name__), text[:_LONGEST_VALUE]


def _size(held: Any) -> _Size:
    """Count the tensors below, those that lie in the same place once."""
    size = _Size()
    places: set[Any] = set()
    for tensor in _tensors(held):
        place = place_of(tensor)
        if place in places:
            continue
        places.add(place)
        size.tensors += 1
        size.numbers += tensor.numel if tensor.is_floating_point else 0
        size.bytes += tensor.nbytes
    return size


def place_of(tensor: StoredTensor) -> Any:
    """Return the same for tensors that are one and the same in the file."""
    offset = getattr(tensor, "offset", None)
    if offset is None or not tensor.numel:
        return id(tensor)
    return str(getattr(tensor, "file", "")), offset, tensor.shape


def _tensors(held: Any) -> Iterator[StoredTensor]:
    waiting = [held]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST_VISITED:
        one = waiting.pop()
        if isinstance(one, StoredTensor):
            yield one
            continue
        if not isinstance(one, Mapping | list | tuple | ModuleRecord | Stand) or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, ModuleRecord):
            waiting.extend(one.state_dict().values())
        elif isinstance(one, Stand):
            waiting.extend((one.state, one.items, one.arguments))
        else:
            waiting.extend(one.values() if isinstance(one, Mapping) else one)
