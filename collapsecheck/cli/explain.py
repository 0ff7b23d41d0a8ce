"""`collapsecheck explain [ID]`: from the docstrings, without importing what they belong to."""

from __future__ import annotations

from typing import Annotated

import typer

from collapsecheck.discovery import documentation
from collapsecheck.errors import UsageError, did_you_mean


def explain(
    check: Annotated[str | None, typer.Argument(metavar="[ID]", help="A check, such as effective-rank.")] = None,
) -> int:
    """What a check measures, its formula, thresholds and usual reasons; without ID, a list of the checks."""
    known = dict(documentation("collapsecheck.checks"))
    if check is None:
        width = max(map(len, known))
        for name, text in known.items():
            typer.echo(f"{name:<{width}}  {text.splitlines()[0]}")
        return 0
    if check not in known:
        raise UsageError(f"unknown check {check!r}{did_you_mean(check, known)}")
    typer.echo(f"{check}\n{'-' * len(check)}\n{known[check]}")
    return 0
