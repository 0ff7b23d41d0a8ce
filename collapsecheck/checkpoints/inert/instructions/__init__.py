"""What each instruction of a pickle does to the machine: `INSTRUCTIONS`, by its byte."""

from __future__ import annotations

from collapsecheck.checkpoints.inert.instructions import calls, containers, literals, memo
from collapsecheck.checkpoints.inert.instructions.table import INSTRUCTIONS

__all__ = ["INSTRUCTIONS", "STOP", "calls", "containers", "literals", "memo"]

STOP = ord(".")
