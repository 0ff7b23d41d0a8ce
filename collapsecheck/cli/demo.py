"""`collapsecheck demo`: the sample models, end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collapsecheck.errors import UsageError, did_you_mean

SHOWN = ("always_one", "healthy")


def sample_folder() -> Path:
    """Where the sample models are: in the wheel, or beside the package in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "_sample_models", package.parent / "sample_models"):
        if (folder / "checkpoints").is_dir():
            return folder
    raise UsageError("the sample models are not installed; use a wheel or a checkout of collapsecheck")


def demo(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Samples; by default two.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All samples.")] = False,
) -> int:
    """Scan sample models: one on which cosine similarity is always 1, and a healthy one."""
    folder = sample_folder()
    known = sorted(path.stem for path in (folder / "checkpoints").glob("*.pt"))
    chosen = known if everything else names or list(SHOWN)
    for name in chosen:
        if name not in known:
            raise UsageError(f"unknown sample {name!r}{did_you_mean(name, known)}")

    from collapsecheck.cli.output import deliver, measuring, renderer_for
    from collapsecheck.scanning import scan
    from collapsecheck.settings import Settings

    for name in chosen:
        model, data = folder / "checkpoints" / f"{name}.pt", folder / "digits"
        definition = f"{_short(folder)}/networks.py:{name}"
        typer.echo(f"$ collapsecheck scan {_short(model)} {_short(data)} --model-def {definition}\n")
        with measuring(quiet=False) as progress:
            report = scan(
                _short(model),
                _short(data),
                model_def=definition,
                settings=Settings(),
                progress=progress,
            )
        deliver(report, renderer_for("text", None), None)
        typer.echo("")
    return 0


def _short(path: Path) -> Path:
    """Relative to the current folder when it lies below it."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path
