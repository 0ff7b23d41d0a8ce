"""What the exit code of every command means; the table in the README is generated from this enum."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes are an API: CI pipelines branch on them, so a number never changes its meaning."""

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        """Attach the sentence that documents a code to the code itself."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    meaning: str

    PASSED = 0, "the gate passed"
    FAILED = 1, "the gate failed: the embeddings are collapsed, or a requirement is not met"
    USAGE = 2, "wrong usage or configuration: an option, a path, a setting"
    NOT_LOADABLE = 3, "the checkpoint was refused or cannot be loaded"
    NOT_MEASURED = 4, "nothing, or too little, could be measured"
    INTERNAL = 5, "internal error in collapsecheck (please report it)"
    INTERRUPTED = 130, "interrupted"
