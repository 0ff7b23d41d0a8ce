"""Pickled modules: the tensors, attributes and children of a recorded `nn.Module`, without its code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from collapsecheck.checkpoints.records import ModuleRecord, Stand
from collapsecheck.checkpoints.stored import StoredTensor
from collapsecheck.errors import NotLoadableError

_PARTS = ("_parameters", "_buffers", "_modules")
_DEEPEST = 200
_MOST_ENTRIES = 2_000_000  # tensors and modules by path
_LONGEST_NAMES = 64 << 20  # characters of all these paths


def is_module(stand: Stand) -> bool:
    """Whether a recorded object has what every `nn.Module` has."""
    state = stand.state
    return isinstance(state, dict) and all(isinstance(state.get(part), dict) for part in _PARTS)


def empty_record(stand: Stand) -> ModuleRecord:
    """Return the record of a module; what it holds is filled in once that is known too."""
    unsaved = stand.state.get("_non_persistent_buffers_set")
    unsaved = unsaved.items if type(unsaved) is Stand else unsaved  # a set that is not settled yet
    return ModuleRecord(
        path=stand.path,
        attributes={},
        parameters={},
        buffers={},
        children={},
        non_persistent=frozenset(one for one in unsaved if type(one) is str)
        if type(unsaved) in (set, list)
        else frozenset(),
    )


def fill(record: ModuleRecord, stand: Stand, replaced: Callable[[Any], Any]) -> None:
    """Fill a record with what the recorded state holds, each object by what has taken its place."""
    state: Mapping[Any, Any] = stand.state
    _fill(record.parameters, state["_parameters"], replaced, StoredTensor)
    _fill(record.buffers, state["_buffers"], replaced, StoredTensor)
    _fill(record.children, state["_modules"], replaced, ModuleRecord)
    attributes: Any = record.attributes
    for name, value in state.items():
        if type(name) is str and name not in _PARTS and not ("hook" in name and name.startswith("_")):
            attributes[name] = replaced(value)
    attributes.pop("_non_persistent_buffers_set", None)


def _fill(into: Any, given: Mapping[Any, Any], replaced: Callable[[Any], Any], kind: type) -> None:
    for name, value in given.items():
        held = replaced(value)
        if type(name) is str and (held is None or isinstance(held, kind)):
            into[name] = held


def untangle(records: Iterable[ModuleRecord]) -> None:
    """Cut modules that hold themselves, and bound what is left.

    A tree of 40 modules, each of which holds the next one twice, has 2⁴⁰ layers.

    Raises
    ------
    NotLoadableError
        If modules are nested more deeply, or have more entries by path, than any model.
    """
    extent: dict[int, tuple[int, int, int]] = {}  # per module: depth, entries, characters of their paths
    for root in records:
        if id(root) not in extent:
            _measure(root, extent)


def _measure(root: ModuleRecord, extent: dict[int, tuple[int, int, int]]) -> None:
    open_: set[int] = {id(root)}
    waiting = [(root, iter(list(root.children.items())))]
    while waiting:
        module, children = waiting[-1]
        for name, child in children:
            if child is None or id(child) in extent:
                continue
            if id(child) in open_:
                module.children[name] = None  # type: ignore[index]
                module.within_itself = name
                continue
            open_.add(id(child))
            waiting.append((child, iter(list(child.children.items()))))
            break
        else:
            waiting.pop()
            open_.discard(id(module))
            extent[id(module)] = _extent(module, extent)


def _extent(module: ModuleRecord, extent: Mapping[int, tuple[int, int, int]]) -> tuple[int, int, int]:
    own = [*module.parameters, *module.buffers]
    depth, entries, length = 1, 1 + len(own), sum(map(len, own))
    for name, child in module.children.items():
        if child is not None:
            below = extent[id(child)]
            depth = max(depth, 1 + below[0])
            entries += below[1]
            length += below[2] + (len(name) + 1) * below[1]
    if depth > _DEEPEST or entries > _MOST_ENTRIES or length > _LONGEST_NAMES:
        raise NotLoadableError(
            f"its modules are nested {depth} deep with {entries:,} tensors and layers, more than any model; "
            "re-save the weights with torch.save(model.state_dict(), FILE)"
        )
    return depth, entries, length
