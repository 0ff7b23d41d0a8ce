"""The Typer application and its commands; imports no torch."""

from __future__ import annotations

from typing import Annotated

import typer

from collapsecheck.cli import demo, embeddings, explain, inspect, scan
from collapsecheck.exit_codes import ExitCode
from collapsecheck.version import __version__

EPILOG = "Exit codes: " + ", ".join(f"{int(code)} {code.meaning}" for code in ExitCode) + "."

app = typer.Typer(
    name="collapsecheck",
    help="Finds out why the embeddings of a PyTorch model all look the same.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("scan", epilog=EPILOG)(scan.scan)
app.command("embeddings", epilog=EPILOG)(embeddings.embeddings)
app.command("inspect", epilog=EPILOG)(inspect.inspect)
app.command("explain")(explain.explain)
app.command("demo")(demo.demo)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"collapsecheck {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Finds out why the embeddings of a PyTorch model all look the same."""
