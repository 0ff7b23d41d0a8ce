"""An own machine for the instructions of a pickle. It imports nothing and calls nothing that a pickle names.

Names become `records.Name`; calls become `records.Stand`, but for some constructors of plain data (`constructors`).
Whatever takes memory is bounded by the bytes that are there: every declared length, the memo, what constructors copy.
Protocols 0 to 5; the instructions are those of PEP 307, 3154 and 574 and of the module `pickletools`.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from collapsecheck.checkpoints.inert.budget import Budget
from collapsecheck.checkpoints.inert.constructors import call
from collapsecheck.checkpoints.inert.damage import damaged
from collapsecheck.checkpoints.inert.instructions import INSTRUCTIONS, STOP
from collapsecheck.checkpoints.inert.names import refuse_attacks
from collapsecheck.checkpoints.records import Name
from collapsecheck.errors import NotLoadableError, printable

Buffer = bytes | mmap.mmap

LARGEST_PICKLE = 64 << 20  # bytes
MOST_INSTRUCTIONS = 5_000_000
MOST_NAMES = 10_000
_LONGEST_NAME = 500
_LONGEST_LINE = 600  # digits

_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}


def _no_persistent(_: Any) -> Any:
    raise damaged("it refers to storages outside itself")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the instructions left: the value, all names in the order of appearance, and where the pickle ended."""

    value: Any
    names: tuple[str, ...]
    end: int


class Machine:
    """The state of one run: a stack with marks, and the memo."""

    __slots__ = ("at", "budget", "data", "done", "end", "memo", "names", "outer", "persistent", "stack")

    def __init__(
        self, data: Buffer, *, start: int = 0, largest: int = LARGEST_PICKLE, persistent: Callable[[Any], Any] | None
    ) -> None:
        self.data = data
        self.at = start
        self.end = min(len(data), start + largest)
        self.persistent = persistent or _no_persistent
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []  # the stacks below each mark
        self.memo: dict[int, Any] = {}
        self.names: dict[str, Name] = {}
        self.done = 0
        self.budget = Budget(4 * (self.end - start) + (1 << 20))

    def run(self) -> Any:
        """Follow the instructions up to STOP and return the value."""
        data, end = self.data, self.end
        try:
            while True:
                if self.at >= end:
                    raise damaged("it has no end" if end == len(data) else f"more than {LARGEST_PICKLE:,} bytes")
                code = data[self.at]
                self.at += 1
                self.done += 1
                if self.done > MOST_INSTRUCTIONS:
                    raise NotLoadableError(
                        f"the pickle has more than {MOST_INSTRUCTIONS:,} instructions, far more than weights need; "
                        "save the weights alone"
                    )
                if code == STOP:
                    return self.stack.pop()
                INSTRUCTIONS[code](self)
        except IndexError as error:
            raise damaged("an instruction found nothing to work on") from error
        except (ValueError, OverflowError) as error:  # text that is no number, bytes that are no text
            raise damaged(printable(str(error), 80)) from error

    def take(self, count: int) -> bytes:
        """Return the next bytes, which must be there: a declared length costs nothing."""
        begin = self.at
        after = begin + count
        if after > self.end:
            raise damaged("a length goes past its end")
        self.at = after
        return self.data[begin:after]

    def byte(self) -> int:
        """Return the next byte."""
        at = self.at
        if at >= self.end:
            raise damaged("it has no end")
        self.at = at + 1
        return self.data[at]

    def number(self, count: int) -> int:
        """Return the next bytes as a number."""
        return int.from_bytes(self.take(count), "little")

    def line(self) -> bytes:
        """Return what comes before the next line feed."""
        found = self.data.find(b"\n", self.at, self.end)
        if found < 0:
            raise damaged("a line has no end")
        return self.take(found + 1 - self.at)[:-1]

    def integer(self) -> int:
        """Return a line as a number."""
        line = self.line()
        if len(line) > _LONGEST_LINE:
            raise damaged("a number is too long")
        return int(line.removesuffix(b"L"))

    def from_mark(self) -> list[Any]:
        """Return and remove what is above the last mark, and the mark."""
        items = self.stack
        self.stack = self.outer.pop()
        return items

    def name(self, module: Any, name: Any) -> Name:
        """Return the record of a name; one for each."""
        if type(module) is not str or type(name) is not str or len(module) + len(name) > _LONGEST_NAME:
            raise damaged("the name of a class is none")
        path = f"{_PYTHON_2.get(module, module)}.{name}"
        path = "builtins.range" if path == "builtins.xrange" else path
        known = self.names.get(path)
        if known is None:
            if len(self.names) >= MOST_NAMES:
                raise damaged(f"it names more than {MOST_NAMES:,} classes")
            known = self.names[path] = Name(path)
        return known

    def call(self, callee: Any, arguments: Any, keywords: Any = None) -> Any:
        """Return what stands for the result of a call."""
        if type(callee) is not Name or type(arguments) is not tuple:
            raise damaged("it calls what is no name")
        return call(callee, arguments, keywords, self)


def run(
    data: Buffer, *, start: int = 0, largest: int = LARGEST_PICKLE, persistent: Callable[[Any], Any] | None = None
) -> Outcome:
    """Run one pickle that begins at `start`.

    Raises
    ------
    NotLoadableError
        If it is damaged, larger than `largest` bytes, or names what could only be an attack.
    """
    machine = Machine(data, start=start, largest=largest, persistent=persistent)
    try:
        value = machine.run()
    except MemoryError as error:
        raise NotLoadableError("there is not enough memory for what the pickle holds; free some") from error
    finally:
        refuse_attacks(machine.names)  # also where it stumbled: this is what a user has to know first
    return Outcome(value=value, names=tuple(machine.names), end=machine.at)
