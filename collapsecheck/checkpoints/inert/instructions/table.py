"""The table that the other files of this folder fill."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from collapsecheck.checkpoints.inert.damage import damaged

if TYPE_CHECKING:
    from collapsecheck.checkpoints.inert.machine import Machine

Instruction = Callable[["Machine"], None]


def _unknown(machine: Machine) -> None:
    code = machine.data[machine.at - 1]
    raise damaged(f"an instruction that no pickle of weights has, 0x{code:02x}")


INSTRUCTIONS: list[Instruction] = [_unknown] * 256


def on(*codes: str) -> Callable[[Instruction], Instruction]:
    """Enter an instruction under its characters."""

    def enter(made: Instruction) -> Instruction:
        for code in codes:
            INSTRUCTIONS[ord(code)] = made
        return made

    return enter
