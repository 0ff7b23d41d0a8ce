"""`collapsecheck explain [ID]`: from the docstrings, without importing what they belong to."""

from __future__ import annotations

from typing import Annotated

import typer

from collapsecheck.discovery import documentation
from collapsecheck.errors import UsageError, did_you_mean


def explain(
    name: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="A check or a cause, such as effective-rank or dead-relu.")
    ] = None,
) -> int:
    """What a check measures, or what a cause means and how it is confirmed; without ID, a list of both."""
    checks = dict(documentation("collapsecheck.checks"))
    causes = dict(documentation("collapsecheck.causes"))
    known = {**checks, **causes}
    if name is None:
        width = max(map(len, known))
        for heading, group in (("checks", checks), ("causes", causes)):
            typer.echo(f"{heading}\n{'-' * len(heading)}")
            for one, text in group.items():
                typer.echo(f"{one:<{width}}  {text.splitlines()[0]}")
            typer.echo("")
        return 0
    if name not in known:
        raise UsageError(f"unknown check or cause {name!r}{did_you_mean(name, sorted(known))}")
    texts = [group[name] for group in (checks, causes) if name in group]  # some are both
    typer.echo(f"{name}\n{'-' * len(name)}\n" + "\n\n".join(texts))
    return 0
