"""Frames, marks, the stack and the memo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapsecheck.checkpoints.inert.damage import damaged
from collapsecheck.checkpoints.inert.instructions.table import on

if TYPE_CHECKING:
    from collapsecheck.checkpoints.inert.machine import Machine


@on("\x80")
def _protocol(machine: Machine) -> None:
    version = machine.byte()
    if version > 5:
        raise damaged(f"pickle protocol {version} is not known")


@on("\x95")
def _frame(machine: Machine) -> None:
    if machine.number(8) > machine.end - machine.at:
        raise damaged("a length goes past its end")


@on("(")
def _mark(machine: Machine) -> None:
    machine.outer.append(machine.stack)
    machine.stack = []


@on("0")
def _pop(machine: Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.from_mark()


@on("1")
def _pop_mark(machine: Machine) -> None:
    machine.from_mark()


@on("2")
def _duplicate(machine: Machine) -> None:
    machine.stack.append(machine.stack[-1])


def _put(machine: Machine, index: int) -> None:
    if not 0 <= index < machine.done:  # a pickler counts from 0
        raise damaged("its memo has gaps")
    machine.memo[index] = machine.stack[-1]


@on("q")
def _put_short(machine: Machine) -> None:
    _put(machine, machine.byte())


@on("r")
def _put_long(machine: Machine) -> None:
    _put(machine, machine.number(4))


@on("p")
def _put_text(machine: Machine) -> None:
    _put(machine, machine.integer())


@on("\x94")
def _memoize(machine: Machine) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _get(machine: Machine, index: int) -> None:
    if index not in machine.memo:
        raise damaged("its memo lacks an entry")
    machine.stack.append(machine.memo[index])


@on("h")
def _get_short(machine: Machine) -> None:
    _get(machine, machine.byte())


@on("j")
def _get_long(machine: Machine) -> None:
    _get(machine, machine.number(4))


@on("g")
def _get_text(machine: Machine) -> None:
    _get(machine, machine.integer())
