"""A module from the record of a pickled one, where all of its classes are torch's and torchvision's own.

Each instance is made without its constructor and given what was pickled, as unpickling would, but every value goes
through a check: numbers, texts and containers of them, tensors, known modules, and known classes and functions. Hooks
are never among it, and no attribute may take the place of a method.
"""

from __future__ import annotations

import functools
import inspect
from collections import OrderedDict
from collections.abc import Mapping
from types import CodeType
from typing import Any

import torch
from torch import nn

from collapsecheck.checkpoints import ModuleRecord, Name, Stand, StoredTensor
from collapsecheck.checkpoints.inert.containers import AttributedDict
from collapsecheck.errors import printable
from collapsecheck.models.known_classes import known_functions, known_modules, known_objects, known_types
from collapsecheck.user_code import in_one_line

_PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None)})
_DEEPEST = 50  # containers in one another within an attribute
_OF_EVERY_MODULE = frozenset(dir(nn.Module))
# What only runs while a module is made or shown.
_NOT_WHILE_RUNNING = frozenset({"__init__", "__repr__", "extra_repr", "reset_parameters", "_reset_parameters"})


class CannotRebuildError(Exception):
    """A record that is not of known parts; the message says which, and goes on from "PATH: "."""


class _UnknownError(Exception):
    """A value that is not of known parts."""


def unknown_classes(record: ModuleRecord) -> tuple[str, ...]:
    """Return the classes of a pickled module that are neither torch's nor torchvision's, outermost first."""
    known = known_modules()
    return tuple(dict.fromkeys(part.path for _, part in record.named_modules() if part.path not in known))


class Rebuilding:
    """One rebuilding: objects that are one in the file stay one.

    `left_out` lists attributes that no code of their module reads, and that are not of known parts.
    """

    def __init__(self) -> None:
        self.left_out: list[str] = []
        self._made: dict[int, Any] = {}
        self._kept: list[Any] = []  # so that ids stay those of what they were made of

    def module(self, record: ModuleRecord, name: str = "") -> nn.Module:
        """Return the module with its weights; tensors stay mapped in the file.

        Raises
        ------
        CannotRebuildError
            If a class is not known, or an attribute that its code reads.
        """
        if id(record) in self._made:
            made = self._made[id(record)]
            if not isinstance(made, nn.Module):
                raise CannotRebuildError("holds a module that contains itself")
            return made
        kind = known_modules().get(record.path)
        if record.within_itself:
            raise CannotRebuildError(f"{printable(record.within_itself, 60)!r} of the layer {_shown(name)} contains it")
        if kind is None:
            raise CannotRebuildError(f"the layer {_shown(name)} is of the unknown class {printable(record.path, 80)}")
        module: nn.Module = kind.__new__(kind)
        nn.Module.__init__(module)
        state: dict[str, Any] = dict(vars(module))
        self._remember(record, None)
        state["_parameters"] = {key: self._parameter(value) for key, value in record.parameters.items()}
        state["_buffers"] = {
            key: None if value is None else self._tensor(value) for key, value in record.buffers.items()
        }
        state["_modules"] = {
            key: None if child is None else self.module(child, f"{name}.{key}" if name else key)
            for key, child in record.children.items()
        }
        state["_non_persistent_buffers_set"] = set(record.non_persistent)
        for key, value in record.attributes.items():
            self._attribute(state, kind, key, value, name)
        if isinstance(module, nn.RNNBase):  # a second list of its weights, which must be the same objects
            names = state.get("_flat_weights_names")
            state["_flat_weights"] = [state["_parameters"].get(one) for one in names] if isinstance(names, list) else []
        try:
            restore: Any = module.__setstate__  # which knows how releases before saved this class
            restore(state)
        except Exception as error:  # classes compute there with what they were given
            raise CannotRebuildError(
                f"the layer {_shown(name)} does not take its state: {in_one_line(error)}"
            ) from error
        self._remember(record, module)
        return module

    def _attribute(self, state: dict[str, Any], kind: type[nn.Module], key: str, value: Any, name: str) -> None:
        place = f"{printable(key, 60)!r} of the layer {_shown(name)}"
        if key == "training":
            state[key] = value is True
            return
        if key in _OF_EVERY_MODULE or key.startswith("__") or _is_code(kind, key):
            raise CannotRebuildError(f"the attribute {place} takes the place of code of {printable(kind.__name__, 60)}")
        if issubclass(kind, nn.RNNBase) and key == "_flat_weights":
            return
        try:
            state[key] = self._value(value, 0, f"{name}.{key}")
        except _UnknownError as error:
            hashed: Any = kind
            if key in _names_read_by(hashed):
                raise CannotRebuildError(f"the attribute {place} holds {error}") from error
            self.left_out.append(f"{name}.{key}" if name else key)

    def _value(self, value: Any, depth: int, name: str) -> Any:
        if type(value) in _PLAIN:
            return value
        if id(value) in self._made:
            return self._made[id(value)]
        if depth > _DEEPEST:
            raise _UnknownError("containers nested more deeply than any model's")
        if isinstance(value, StoredTensor):
            return self._tensor(value)
        if isinstance(value, ModuleRecord):
            return self.module(value, name)
        if isinstance(value, list):
            made: Any = self._remember(value, [])
            made.extend(self._value(one, depth + 1, name) for one in value)
            return made
        if isinstance(value, dict):
            return self._mapping(value, depth, name)
        if isinstance(value, tuple | set | frozenset):
            return self._remember(value, type(value)(self._value(one, depth + 1, name) for one in value))
        if isinstance(value, Name):
            return _known(value.path)
        if isinstance(value, Stand):
            return self._remember(value, self._object(value, depth, name))
        raise _UnknownError(f"a {printable(type(value).__name__, 60)}")

    def _mapping(self, value: dict[Any, Any], depth: int, name: str) -> Any:
        if not all(type(key) in _PLAIN for key in value):
            raise _UnknownError("a dict with other keys than texts and numbers")
        made: dict[Any, Any] = self._remember(value, OrderedDict() if isinstance(value, AttributedDict) else {})
        made.update((key, self._value(one, depth + 1, name)) for key, one in value.items())
        return made

    def _object(self, stand: Stand, depth: int, name: str) -> Any:
        if stand.path == "functools.partial":
            return self._partial(stand, depth, name)
        if stand.path == "torch.device":
            return torch.device("cpu")  # where the model runs is chosen elsewhere
        kind: Any = known_objects().get(stand.path)
        if kind is None or stand.arguments or not isinstance(stand.state, Mapping):
            raise _UnknownError(f"a {printable(stand.path, 80)}")
        made = kind.__new__(kind)
        for key, value in stand.state.items():
            if type(key) is not str or key.startswith("__") or _is_code(kind, key):
                raise _UnknownError(f"a {printable(stand.path, 80)} with an attribute in place of its code")
            vars(made)[key] = self._value(value, depth + 1, name)
        return made

    def _partial(self, stand: Stand, depth: int, name: str) -> Any:
        state = stand.state
        if type(state) is not tuple or len(state) != 4 or type(state[0]) is not Name:
            raise _UnknownError("a functools.partial of something unknown")
        function, arguments, keywords = _known(state[0].path), state[1], state[2] or {}
        if not callable(function) or type(arguments) is not tuple or not isinstance(keywords, dict):
            raise _UnknownError("a functools.partial of something unknown")
        return functools.partial(
            function,
            *(self._value(one, depth + 1, name) for one in arguments),
            **{str(key): self._value(one, depth + 1, name) for key, one in keywords.items()},
        )

    def _parameter(self, stored: StoredTensor | None) -> nn.Parameter | None:
        if stored is None:
            return None
        known = self._made.get(id(stored))
        if isinstance(known, nn.Parameter):
            return known
        tensor = stored.tensor()
        made = nn.Parameter(tensor, requires_grad=tensor.is_floating_point() or tensor.is_complex())
        self._remember(stored, made)
        return made

    def _tensor(self, stored: StoredTensor) -> torch.Tensor:
        made: torch.Tensor = (
            self._made[id(stored)] if id(stored) in self._made else self._remember(stored, stored.tensor())
        )
        return made

    def _remember(self, source: Any, made: Any) -> Any:
        self._made[id(source)] = made
        self._kept.append(source)
        return made


def _known(path: str) -> Any:
    for known in (known_modules(), known_functions(), known_types()):
        if path in known:
            return known[path]
    raise _UnknownError(f"{printable(path, 80)}")


def _is_code(kind: type[Any], name: str) -> bool:
    """Whether a class has a method, a property or the like of that name, which an attribute would hide or miss."""
    held = inspect.getattr_static(kind, name, None)
    return callable(held) or hasattr(type(held), "__get__")


@functools.cache
def _names_read_by(kind: type[nn.Module]) -> frozenset[str]:
    """Every name and text in the code of a class, but for what only makes and shows it: attributes it may read."""
    found: set[str] = set()
    for one in kind.__mro__:
        for name, value in vars(one).items():
            if name not in _NOT_WHILE_RUNNING and one not in (nn.Module, object):
                for part in (value, *(getattr(value, at, None) for at in ("fget", "__func__", "__wrapped__"))):
                    _gather(getattr(part, "__code__", None), found)
    return frozenset(found)


def _gather(code: Any, found: set[str]) -> None:
    if isinstance(code, CodeType):
        found.update(code.co_names)
        for constant in code.co_consts:
            if isinstance(constant, str):
                found.add(constant)
            elif isinstance(constant, tuple):
                found.update(one for one in constant if isinstance(one, str))
            _gather(constant, found)


def _shown(name: str) -> str:
    return printable(name, 80) or "at the top"
