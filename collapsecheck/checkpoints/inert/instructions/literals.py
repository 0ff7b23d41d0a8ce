"""Constants, numbers, texts and bytes."""

from __future__ import annotations

import codecs
import struct
from typing import TYPE_CHECKING, Any

from collapsecheck.checkpoints.inert.damage import damaged
from collapsecheck.checkpoints.inert.instructions.table import Instruction, on

if TYPE_CHECKING:
    from collapsecheck.checkpoints.inert.machine import Machine


_LONGEST_INTEGER = 256  # bytes; the state of a random number generator has 16


def _constant(value: Any) -> Instruction:
    def instruction(machine: Machine) -> None:
        machine.stack.append(value)

    return instruction


on("N")(_constant(None))
on("\x88")(_constant(True))
on("\x89")(_constant(False))
on(")")(_constant(()))


@on("I")
def _int_text(machine: Machine) -> None:
    begin = machine.at
    line = machine.line()
    if line in (b"00", b"01"):  # how protocol 0 writes False and True
        machine.stack.append(line == b"01")
        return
    machine.at = begin
    machine.stack.append(machine.integer())


@on("L")
def _long_text(machine: Machine) -> None:
    machine.stack.append(machine.integer())


@on("F")
def _float_text(machine: Machine) -> None:
    machine.stack.append(float(machine.line()))


@on("G")
def _float(machine: Machine) -> None:
    machine.stack.append(struct.unpack(">d", machine.take(8))[0])


@on("J")
def _int(machine: Machine) -> None:
    machine.stack.append(int.from_bytes(machine.take(4), "little", signed=True))


@on("K")
def _int_short(machine: Machine) -> None:
    machine.stack.append(machine.byte())


@on("M")
def _int_middle(machine: Machine) -> None:
    machine.stack.append(machine.number(2))


def _long(machine: Machine, length: int) -> None:
    if length > _LONGEST_INTEGER:
        raise damaged("a number is too long")
    machine.stack.append(int.from_bytes(machine.take(length), "little", signed=True))


@on("\x8a")
def _long_short(machine: Machine) -> None:
    _long(machine, machine.byte())


@on("\x8b")
def _long_long(machine: Machine) -> None:
    _long(machine, machine.number(4))


def _text_of(width: int) -> Instruction:
    def instruction(machine: Machine) -> None:
        machine.stack.append(machine.take(machine.number(width)).decode("utf-8", "surrogatepass"))

    return instruction


def _bytes_of(width: int) -> Instruction:
    def instruction(machine: Machine) -> None:
        machine.stack.append(machine.take(machine.number(width)))

    return instruction


def _string_of(width: int) -> Instruction:
    def instruction(machine: Machine) -> None:
        machine.stack.append(_python_2(machine.take(machine.number(width))))

    return instruction


on("X")(_text_of(4))
on("\x8c")(_text_of(1))
on("\x8d")(_text_of(8))
on("B")(_bytes_of(4))
on("C")(_bytes_of(1))
on("\x8e")(_bytes_of(8))
on("T")(_string_of(4))
on("U")(_string_of(1))


def _python_2(content: bytes) -> str | bytes:
    """Python 2 did not tell texts from bytes."""
    return content.decode("ascii") if content.isascii() else content


@on("\x96")
def _bytearray(machine: Machine) -> None:
    machine.stack.append(bytearray(machine.take(machine.number(8))))


@on("S")
def _string_text(machine: Machine) -> None:
    line = machine.line()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise damaged("a text without quotes")
    machine.stack.append(_python_2(codecs.escape_decode(line[1:-1])[0]))


@on("V")
def _text_line(machine: Machine) -> None:
    text: str = codecs.raw_unicode_escape_decode(machine.line())[0]
    machine.stack.append(text)
