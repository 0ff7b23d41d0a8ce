"""Errors a user can do something about: one line that names the thing, what was expected and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from collapsecheck.exit_codes import ExitCode


class CollapsecheckError(Exception):
    """Base of all expected errors; `exit_code` is what the command line ends with."""

    exit_code = ExitCode.INTERNAL


class UsageError(CollapsecheckError):
    """An option, a path or a setting is wrong (exit code 2)."""

    exit_code = ExitCode.USAGE


class NotLoadableError(CollapsecheckError):
    """The checkpoint was refused or does not fit the architecture (exit code 3)."""

    exit_code = ExitCode.NOT_LOADABLE


class NotMeasuredError(CollapsecheckError):
    """There was nothing, or too little, to measure (exit code 4)."""

    exit_code = ExitCode.NOT_MEASURED


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean X?"` for the nearest known name, or the list of names when none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; known are: {', '.join(known)}"


def printable(text: str, limit: int = 200) -> str:
    """Make a name that came out of a file safe to show on a terminal.

    Control, bidirectional and other invisible characters (ANSI escapes, newlines that would forge a line)
    are written as escapes, lone surrogates too, and the text is cut after `limit` characters.
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
