"""Names, calls of them, and the state of what they made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapsecheck.checkpoints.inert.containers import AttributedDict, RecordedDict
from collapsecheck.checkpoints.inert.damage import damaged
from collapsecheck.checkpoints.inert.instructions.table import on
from collapsecheck.checkpoints.records import Name, Stand

if TYPE_CHECKING:
    from collapsecheck.checkpoints.inert.machine import Machine


@on("c")
def _global(machine: Machine) -> None:
    module, name = machine.line(), machine.line()
    machine.stack.append(machine.name(module.decode("utf-8"), name.decode("utf-8")))


@on("\x93")
def _global_from_stack(machine: Machine) -> None:
    name = machine.stack.pop()
    machine.stack.append(machine.name(machine.stack.pop(), name))


@on("R", "\x81")  # a call, and the making of an object: both of a name and its arguments
def _reduce(machine: Machine) -> None:
    arguments = machine.stack.pop()
    machine.stack[-1] = machine.call(machine.stack[-1], arguments)


@on("\x92")
def _new_with_keywords(machine: Machine) -> None:
    keywords = machine.stack.pop()
    arguments = machine.stack.pop()
    if type(keywords) is not RecordedDict or not all(type(key) is str for key in keywords):
        raise damaged("it calls what is no name")
    machine.stack[-1] = machine.call(machine.stack[-1], arguments, keywords)


@on("o")
def _object(machine: Machine) -> None:
    callee, *arguments = machine.from_mark()
    machine.stack.append(machine.call(callee, tuple(arguments)))


@on("i")
def _instance(machine: Machine) -> None:
    arguments = tuple(machine.from_mark())
    module, name = machine.line(), machine.line()
    callee = machine.name(module.decode("utf-8"), name.decode("utf-8"))
    machine.stack.append(machine.call(callee, arguments))


@on("b")
def _build(machine: Machine) -> None:
    state = machine.stack.pop()
    target = machine.stack[-1]
    if type(target) is Stand:
        target.state = state
    elif type(target) is AttributedDict:
        if type(state) is RecordedDict and "_metadata" in state:
            target._metadata = state["_metadata"]
    elif type(target) is Name:
        raise damaged("it changes a class, which no pickler does")
    else:
        raise damaged("it gives attributes to what has none")


@on("Q")
def _persistent_from_stack(machine: Machine) -> None:
    machine.stack.append(machine.persistent(machine.stack.pop()))


@on("P")
def _persistent_line(machine: Machine) -> None:
    machine.stack.append(machine.persistent(machine.line().decode("ascii")))


@on("\x82", "\x83", "\x84")
def _unregistered(_: Machine) -> None:
    raise damaged("it refers to a registry of classes that the file does not hold")


@on("\x97", "\x98")
def _out_of_band(_: Machine) -> None:
    raise damaged("it refers to buffers that the file does not hold")
