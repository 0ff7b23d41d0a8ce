"""Lists, tuples, dicts and sets, and what is put into them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collapsecheck.checkpoints.inert.containers import AttributedDict, RecordedDict, are_plain_keys
from collapsecheck.checkpoints.inert.damage import damaged
from collapsecheck.checkpoints.inert.instructions.table import on
from collapsecheck.checkpoints.records import Stand

if TYPE_CHECKING:
    from collapsecheck.checkpoints.inert.machine import Machine


@on("]")
def _empty_list(machine: Machine) -> None:
    machine.stack.append([])


@on("}")
def _empty_dict(machine: Machine) -> None:
    machine.stack.append(RecordedDict())


@on("\x8f")
def _empty_set(machine: Machine) -> None:
    machine.stack.append(Stand(path="builtins.set"))  # a set once its members are known to be plain


@on("l")
def _list(machine: Machine) -> None:
    items = machine.from_mark()
    machine.stack.append(items)


@on("t")
def _tuple(machine: Machine) -> None:
    items = machine.from_mark()
    machine.stack.append(tuple(items))


@on("\x85")
def _tuple_1(machine: Machine) -> None:
    machine.stack[-1] = (machine.stack[-1],)


def _joined(machine: Machine, count: int) -> None:
    stack = machine.stack
    if len(stack) < count:
        raise IndexError
    made = tuple(stack[-count:])
    del stack[-count:]
    stack.append(made)


@on("\x86")
def _tuple_2(machine: Machine) -> None:
    _joined(machine, 2)


@on("\x87")
def _tuple_3(machine: Machine) -> None:
    _joined(machine, 3)


@on("d")
def _dict(machine: Machine) -> None:
    items = machine.from_mark()
    made = RecordedDict()
    _set_all(made, items)
    machine.stack.append(made)


@on("\x91")
def _frozenset(machine: Machine) -> None:
    items = machine.from_mark()
    plain = are_plain_keys(items)
    machine.stack.append(frozenset(items) if plain else Stand(path="builtins.frozenset", items=items))


@on("a")
def _append(machine: Machine) -> None:
    value = machine.stack.pop()
    _add(machine.stack[-1], [value])


@on("e")
def _append_all(machine: Machine) -> None:
    items = machine.from_mark()
    _add(machine.stack[-1], items)


@on("\x90")
def _add_all(machine: Machine) -> None:
    items = machine.from_mark()
    if type(machine.stack[-1]) is not Stand:
        raise damaged("it adds to what is no set")
    _add(machine.stack[-1], items)


def _add(target: Any, items: list[Any]) -> None:
    if type(target) is list:
        target.extend(items)
    elif type(target) is Stand:
        target.items.extend(items)
    else:
        raise damaged("it adds to what is no list")


@on("s")
def _set_one(machine: Machine) -> None:
    value = machine.stack.pop()
    key = machine.stack.pop()
    _set_all(machine.stack[-1], [key, value])


@on("u")
def _set_items(machine: Machine) -> None:
    items = machine.from_mark()
    _set_all(machine.stack[-1], items)


def _set_all(target: Any, items: list[Any]) -> None:
    if len(items) % 2:
        raise damaged("a key without a value")
    kind = type(target)
    if kind is RecordedDict or kind is AttributedDict:
        for at in range(0, len(items), 2):
            target.record(items[at], items[at + 1])
    elif kind is Stand:
        target.pairs.extend(zip(items[::2], items[1::2], strict=True))
    else:
        raise damaged("it sets entries of what is no dict")
