"""Calls of a pickle whose result is plain data, made here; all others become a `Stand`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from collapsecheck.checkpoints.inert.containers import AttributedDict, RecordedDict, are_plain_keys
from collapsecheck.checkpoints.inert.numbers import numpy_scalar
from collapsecheck.checkpoints.records import Name, Stand

if TYPE_CHECKING:
    from collapsecheck.checkpoints.inert.machine import Machine

_NO_KEYWORDS: Mapping[str, Any] = {}
_MISSING = object()  # the arguments are not those that this constructor is saved with


def call(callee: Name, arguments: tuple[Any, ...], keywords: Any, machine: Machine) -> Any:
    """Return plain data, or a record of the call."""
    make = _CONSTRUCTORS.get(callee.path)
    if make is not None and not keywords:
        made = make(arguments, machine)
        if made is not _MISSING:
            return made
    return Stand(path=callee.path, arguments=arguments, keywords=keywords or _NO_KEYWORDS)


def _dict(arguments: tuple[Any, ...], machine: Machine) -> Any:
    return _filled(RecordedDict(), arguments, machine)


def _ordered(arguments: tuple[Any, ...], machine: Machine) -> Any:
    return _filled(AttributedDict(), arguments, machine)


def _default(arguments: tuple[Any, ...], machine: Machine) -> Any:
    return _filled(AttributedDict(), arguments[1:], machine)


def _filled(made: RecordedDict, arguments: tuple[Any, ...], machine: Machine) -> Any:
    if not arguments:
        return made
    (given, *others) = arguments
    if others:
        return _MISSING
    if isinstance(given, RecordedDict):
        machine.budget.take(len(given) + len(given.pairs))
        made.update(given)
        made.pairs.extend(given.pairs)
        return made
    if type(given) is not list or not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in given):
        return _MISSING
    machine.budget.take(len(given))
    for key, value in given:
        made.record(key, value)
    return made


def _list(arguments: tuple[Any, ...], machine: Machine) -> Any:
    if not arguments:
        return []
    if len(arguments) > 1 or type(arguments[0]) not in (list, tuple):
        return _MISSING
    machine.budget.take(len(arguments[0]))
    return list(arguments[0])


def _set(arguments: tuple[Any, ...], machine: Machine) -> Any:
    return _members(set, arguments, machine)


def _frozenset(arguments: tuple[Any, ...], machine: Machine) -> Any:
    return _members(frozenset, arguments, machine)


def _members(kind: type[set[Any] | frozenset[Any]], arguments: tuple[Any, ...], machine: Machine) -> Any:
    if len(arguments) != 1 or type(arguments[0]) not in (list, tuple):
        return _MISSING
    machine.budget.take(len(arguments[0]))
    return kind(arguments[0]) if are_plain_keys(arguments[0]) else _MISSING


def _encoded(arguments: tuple[Any, ...], machine: Machine) -> Any:
    """Protocols 0 to 2 have no bytes: Python writes them as text."""
    if len(arguments) != 2 or type(arguments[0]) is not str or arguments[1] not in ("latin1", "latin-1"):
        return _MISSING
    machine.budget.take(len(arguments[0]))
    return arguments[0].encode("latin-1")


def _bytes(arguments: tuple[Any, ...], _: Machine) -> Any:
    return _MISSING if arguments else b""


def _bytearray(arguments: tuple[Any, ...], machine: Machine) -> Any:
    if not arguments:
        return bytearray()
    if len(arguments) == 2 and type(arguments[0]) is str:
        arguments = (_encoded(arguments, machine),)
    if len(arguments) != 1 or type(arguments[0]) is not bytes:
        return _MISSING
    machine.budget.take(len(arguments[0]))
    return bytearray(arguments[0])


def _complex(arguments: tuple[Any, ...], _: Machine) -> Any:
    if len(arguments) != 2 or not all(type(part) in (int, float) for part in arguments):
        return _MISSING
    return complex(*arguments)


def _size(arguments: tuple[Any, ...], machine: Machine) -> Any:
    if len(arguments) != 1 or type(arguments[0]) not in (list, tuple):
        return _MISSING
    machine.budget.take(len(arguments[0]))
    return tuple(arguments[0])


def _path(arguments: tuple[Any, ...], machine: Machine) -> Any:
    if not all(type(part) is str for part in arguments):
        return _MISSING
    machine.budget.take(sum(map(len, arguments)) + len(arguments))
    first, rest = "".join(arguments[:1]), "/".join(arguments[1:])
    return (first if first.endswith("/") or not rest else f"{first}/") + rest


def _first(arguments: tuple[Any, ...], _: Machine) -> Any:
    """TorchScript writes a call around lists and dicts that only says their type."""
    return arguments[0] if arguments else _MISSING


def _attribute(arguments: tuple[Any, ...], machine: Machine) -> Any:
    """Python writes nested classes this way, up to protocol 3."""
    if len(arguments) != 2 or type(arguments[0]) is not Name or type(arguments[1]) is not str:
        return _MISSING
    module, _, name = arguments[0].path.partition(".")
    return machine.name(module, f"{name}.{arguments[1]}")


def _object(arguments: tuple[Any, ...], machine: Machine) -> Any:
    """`copyreg._reconstructor(class, base, value of the base)`: how protocols 0 and 1 write objects."""
    if len(arguments) != 3 or type(arguments[0]) is not Name:
        return _MISSING
    made = Stand(path=arguments[0].path)
    base = arguments[2]
    if isinstance(base, RecordedDict):
        machine.budget.take(len(base))
        made.pairs.extend(base.items())
    elif type(base) is list:
        machine.budget.take(len(base))
        made.items.extend(base)
    elif base is not None:
        made.arguments = (base,)
    return made


def _new(arguments: tuple[Any, ...], _: Machine) -> Any:
    if not arguments or type(arguments[0]) is not Name:
        return _MISSING
    return Stand(path=arguments[0].path, arguments=arguments[1:])


def _scalar(arguments: tuple[Any, ...], _: Machine) -> Any:
    made = numpy_scalar(*arguments) if len(arguments) == 2 else None
    return _MISSING if made is None else made


_CONSTRUCTORS: Mapping[str, Callable[[tuple[Any, ...], Machine], Any]] = {
    "builtins.dict": _dict,
    "builtins.list": _list,
    "builtins.set": _set,
    "builtins.frozenset": _frozenset,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytearray,
    "builtins.complex": _complex,
    "builtins.getattr": _attribute,
    "collections.OrderedDict": _ordered,
    "collections.defaultdict": _default,
    "collections.Counter": _ordered,
    "copyreg._reconstructor": _object,
    "copyreg.__newobj__": _new,
    "_codecs.encode": _encoded,
    "torch.Size": _size,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    **{f"torch.jit._pickle.build_{kind}list": _first for kind in ("int", "tensor", "double", "bool")},
    "torch.jit._pickle.restore_type_tag": _first,
    **{
        f"pathlib.{place}{kind}Path": _path
        for place in ("", "_local.")
        for kind in ("", "Posix", "Windows", "Pure", "PurePosix", "PureWindows")
    },
}
