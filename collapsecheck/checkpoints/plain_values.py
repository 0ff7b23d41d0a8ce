"""Values out of a checkpoint as plain ones: hyper-parameters, settings of optimisers, states of schedulers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from collapsecheck.checkpoints.records import ModuleRecord, Name, Stand
from collapsecheck.checkpoints.stored import StoredTensor
from collapsecheck.checkpoints.stored_numbers import one_number

LONGEST_TEXT = 1000  # characters
DEEPEST = 4
MOST_ENTRIES = 100  # of one mapping or sequence
MOST_VALUES = 2000  # in all

CUT = "…"


def plain(value: Any) -> Any:
    """Return a value as None, bool, int, float, str, list or dict with texts as keys.

    Objects become a text with their class and what they were made of; a `Namespace` becomes its attributes.
    Size and depth are bounded: `…` stands for what was cut, also where something contains itself. Texts stay as
    they are (escape them where they are shown).
    """
    return _Plain().of(value, DEEPEST)


def number(value: Any) -> float | int | None:
    """Return a finite number, also out of a tensor with one element; None for anything else."""
    if isinstance(value, StoredTensor):
        value = one_number(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 1 << 63 else None
    return value if isinstance(value, float) and math.isfinite(value) else None


def key_text(key: Any) -> str:
    """Return the key of a mapping as text, whatever it is; as it is where it is text."""
    return key if isinstance(key, str) else str(plain(key))


class _Plain:
    def __init__(self) -> None:
        self._left = MOST_VALUES

    def of(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            return CUT
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, int):
            return value if abs(value) < 1 << 63 else f"an integer of {value.bit_length()} bits"
        if isinstance(value, str):
            return _text(value)
        if isinstance(value, bytes | bytearray):
            return f"{len(value)} bytes"
        if isinstance(value, complex):
            return str(value)
        if isinstance(value, Name):
            return f"class {_text(value.path)}"
        if isinstance(value, StoredTensor):
            return self._tensor(value)
        if isinstance(value, ModuleRecord):
            return f"module {_text(value.path)}"
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, list | tuple | set | frozenset):
            return self._sequence(value, len(value), depth)
        if isinstance(value, Stand):
            return self._stand(value, depth)
        return f"a {_text(type(value).__name__)}"

    def _tensor(self, value: StoredTensor) -> Any:
        only = one_number(value) if value.numel == 1 else None
        return only if only is not None else f"tensor {'×'.join(map(str, value.shape)) or 'scalar'} {value.dtype}"

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> Any:
        if not depth:
            return CUT
        found: dict[str, Any] = {}
        for key, held in value.items():
            if len(found) >= MOST_ENTRIES or self._left < 0:
                found[CUT] = f"{len(value) - len(found)} more"
                break
            found[_text(key_text(key))] = self.of(held, depth - 1)
        return found

    def _sequence(self, value: Iterable[Any], size: int, depth: int) -> Any:
        if not depth:
            return CUT
        found: list[Any] = []
        for held in value:
            if len(found) >= MOST_ENTRIES or self._left < 0:
                found.append(f"{CUT} {size - len(found)} more")
                break
            found.append(self.of(held, depth - 1))
        return found

    def _stand(self, value: Stand, depth: int) -> Any:
        """Show a namespace by its attributes, an enumeration or a path by its value, others as the call."""
        name = value.path.rpartition(".")[2]
        if name in ("Namespace", "SimpleNamespace", "AttributeDict", "AttrDict", "EasyDict", "DotMap"):
            held = value.state if isinstance(value.state, Mapping) else dict(value.keywords)
            pairs = {key: one for key, one in value.pairs if isinstance(key, str)}
            return self._mapping({**held, **pairs}, depth)
        if name.endswith("Path") and all(isinstance(part, str) for part in value.arguments):
            return _text("/".join(value.arguments).replace("//", "/"))
        if not depth:
            return f"{_text(value.path)}({CUT})"
        inner = [self.of(argument, depth - 1) for argument in value.arguments[:8]]
        inner += [CUT] * (len(value.arguments) > 8)
        shown = ", ".join(map(_short, inner))
        if isinstance(value.state, Mapping) and not shown:
            state = self._mapping(value.state, depth - 1)
            if isinstance(state, dict):
                shown = ", ".join(f"{key}={_short(one)}" for key, one in list(state.items())[:8])
            else:
                shown = CUT
        return _text(f"{value.path}({shown})")


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:79]}{CUT}"


def _text(value: str) -> str:
    return value if len(value) <= LONGEST_TEXT else f"{value[: LONGEST_TEXT - 1]}{CUT}"
