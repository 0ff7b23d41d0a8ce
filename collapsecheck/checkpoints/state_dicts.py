"""Where in the content of a checkpoint the weights are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from collapsecheck.checkpoints.plain_values import key_text
from collapsecheck.checkpoints.records import ModuleRecord
from collapsecheck.checkpoints.stored import StoredTensor
from collapsecheck.errors import NotLoadableError, UsageError, did_you_mean, printable

# What training scripts call the weights; in the order in which they are preferred.
_NAMES = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "params",
    "encoder",
    "backbone",
    "student",
    "teacher",
)
# A moving average is another model: it is taken only when asked for by name.
_AVERAGED = re.compile(r"(?:^|_)ema(?:_|$)")
# Their tensors are named like weights, but are not.
_STATE_OF_TRAINING = re.compile(r"optim|(?:lr_)?sched|scaler|callbacks|loops")
_DEPTH = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDict:
    """One set of weights: `key` is its dotted path in the checkpoint, "" for the root.

    `versions` is what `Module.state_dict` notes beside the tensors, by module; None where it is lost.
    """

    key: str
    tensors: Mapping[str, Any]  # StoredTensor, or the extra state of a module
    versions: Mapping[str, Mapping[str, Any]] | None
    module: ModuleRecord | None = None  # where a whole module was pickled


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All sets of weights of a checkpoint, the preferred first; those that are moving averages apart."""

    usable: tuple[StateDict, ...]
    averaged: tuple[str, ...]


def find_state_dicts(content: Any, key: str | None = None) -> Found:
    """Look for weights in nested content.

    Parameters
    ----------
    content
        What the checkpoint holds: a mapping, or a whole module.
    key
        Dotted path to look at alone.

    Raises
    ------
    UsageError
        If there is nothing at `key`, or no weights.
    NotLoadableError
        If there are no weights at all, or only moving averages.
    """
    if not isinstance(content, Mapping | ModuleRecord):
        kind = printable(type(content).__name__)
        raise NotLoadableError(
            f"holds a {kind}, expected a state dict or a training checkpoint; "
            "re-save with torch.save(model.state_dict(), FILE)"
        )
    everything = list(_walk(content, "", _DEPTH, set()))
    if key:
        return _at(content, key, everything)
    averaged = tuple(one.key for one in everything if _is_averaged(one.key))
    usable = tuple(one for one in everything if not _is_averaged(one.key))
    if usable:
        return Found(usable=usable, averaged=averaged)
    if averaged:
        shown = printable(averaged[0])
        raise NotLoadableError(f"holds only moving averages of weights, at {shown}; take them with --key {shown}")
    entries = (
        ", ".join(printable(key_text(name), 40) for name in list(content)[:5]) if isinstance(content, Mapping) else ""
    )
    raise NotLoadableError(
        f"holds no weights (entries: {entries or 'none'}), expected a state dict or a training checkpoint; "
        "re-save with torch.save(model.state_dict(), FILE)"
    )


def unused_entries(content: Any, used: StateDict) -> tuple[str, ...]:
    """Name the entries at the top of the checkpoint that are no part of the weights in use."""
    if not isinstance(content, Mapping):
        return ()
    if not used.key:
        prefixes = {name.partition(".")[0] for name in used.tensors}
        return tuple(key_text(name) for name in content if name not in used.tensors and name not in prefixes)
    within = [name for name in content if isinstance(name, str) and f"{used.key}.".startswith(f"{name}.")]
    inner = max(within, key=len)  # beside "a.b", an "a" is another entry
    return tuple(key_text(name) for name in content if name != inner)


def _at(content: Any, key: str, everything: list[StateDict]) -> Found:
    held = _resolve(content, key)
    known = [one.key for one in everything if one.key]
    hint = did_you_mean(key, map(printable, known)) if known else "; the weights are at the top, leave it out"
    if held is None:
        raise UsageError(f"--key {printable(key)}: the checkpoint has no such entry{hint}")
    usable = tuple(_walk(held, key, _DEPTH, set())) if isinstance(held, Mapping | ModuleRecord) else ()
    if not usable:
        raise UsageError(f"--key {printable(key)}: there are no weights at this entry{hint}")
    return Found(usable=usable, averaged=())


def _resolve(content: Any, key: str) -> Any:
    """Follow a dotted path, where the names themselves may have dots."""
    if not isinstance(content, Mapping):
        return None
    if key in content:
        return content[key]
    parts = key.split(".")
    for cut in range(1, len(parts)):
        name, rest = ".".join(parts[:cut]), ".".join(parts[cut:])
        found = _resolve(content[name], rest) if name in content else None
        if found is not None:
            return found
    return None


def _walk(content: Any, key: str, depth: int, seen: set[int]) -> Iterator[StateDict]:
    """Yield the weights below `content`: well-known names, the larger ones, at last all of them joined.

    `seen` are mappings that were visited: a pickle may hold one many times, or within itself.
    """
    if id(content) in seen:
        return
    seen.add(id(content))
    if isinstance(content, ModuleRecord):
        yield StateDict(key=key, tensors=content.state_dict(), versions=None, module=content)
        return
    inner = {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Mapping | ModuleRecord)
    }
    below: dict[str, list[StateDict]] = {}
    if depth:
        for name, value in inner.items():
            if not _STATE_OF_TRAINING.match(name):
                below[name] = list(_walk(value, f"{key}.{name}" if key else name, depth - 1, seen))
    for name in _NAMES:
        yield from below.get(name, [])
    own = _own(content, key)
    others = [one for name, found in below.items() if name not in _NAMES for one in found]
    if own is not None:
        others = [own, *others]
    yield from sorted(others, key=lambda one: -len(one.tensors))
    parts = {
        name: part
        for name, value in inner.items()
        if name in below and isinstance(value, Mapping) and (part := _own(value, name)) is not None
    }
    if len(parts) > 1:
        yield _joined(parts, key)


def _own(content: Mapping[Any, Any], key: str) -> StateDict | None:
    """Return the tensors that are directly in a mapping, if any of them can be weights."""
    tensors = {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and (isinstance(value, StoredTensor) or name.endswith("_extra_state"))
    }
    if not any(isinstance(value, StoredTensor) and value.is_floating_point for value in tensors.values()):
        return None
    versions = getattr(content, "_metadata", None)
    if not isinstance(versions, Mapping) or not all(isinstance(note, Mapping) for note in versions.values()):
        versions = None
    return StateDict(key=key, tensors=tensors, versions=versions)


def _joined(parts: Mapping[str, StateDict], key: str) -> StateDict:
    """Join `{"encoder": …, "head": …}` to what a module with these two children would have saved."""
    tensors = {f"{name}.{inner}": value for name, part in parts.items() for inner, value in part.tensors.items()}
    return StateDict(key=key, tensors=tensors, versions=None)


def _is_averaged(key: str) -> bool:
    return any(_AVERAGED.search(part) for part in key.split("."))
