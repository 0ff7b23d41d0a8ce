"""`collapsecheck inspect MODEL`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collapsecheck.cli import options
from collapsecheck.cli.output import check_output, colorful, measuring, terminal_width, write_file, write_stdout
from collapsecheck.errors import UsageError, did_you_mean

LAYERS = 30


def inspect(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="Checkpoint: .pt, .pth, .ckpt, .safetensors, .onnx, a Hugging Face directory …"
        ),
    ],
    key: Annotated[
        str | None, typer.Option("--key", help="Where in the file the weights are, such as state.model.")
    ] = None,
    arch: Annotated[
        str | None, typer.Option("--arch", help="Hold the weights against a torchvision model, such as resnet18.")
    ] = None,
    model_def: Annotated[
        str | None,
        typer.Option("--model-def", metavar="FILE_OR_MODULE:CALLABLE", help="The same against your code's model."),
    ] = None,
    architecture: Annotated[
        bool,
        typer.Option("--architecture/--no-architecture", help="Find out the model; without, no torch is imported."),
    ] = True,
    layers: Annotated[str, typer.Option("--layers", metavar="N", help="Layers to show, or all.")] = str(LAYERS),
    moments: Annotated[
        bool, typer.Option("--moments", help="Read the moments of the optimiser too; takes longer.")
    ] = False,
    sha256: Annotated[bool, typer.Option("--sha256", help="Compute the digest; reads the whole file.")] = False,
    format_: options.Format = "text",
    output: options.Output = None,
    verbose: options.Verbose = False,  # noqa: ARG001 - read by the entry point
) -> int:
    """Show what is in a checkpoint, without running anything in it: weights, model, layers, traces of training.

    The numbers of the weights are not read, so that this is quick on files of any size.
    """
    if format_ not in ("text", "json"):
        raise UsageError(f"unknown format {format_!r}{did_you_mean(format_, ('text', 'json'))}")
    shown = _shown(layers)
    if output is not None:
        check_output(output)
    if not model.exists():
        raise UsageError(f"{model}: no such file or folder")
    if (arch is not None or model_def is not None) and not architecture:
        raise UsageError("--no-architecture leaves nothing to hold the weights against; leave out --arch, --model-def")

    from collapsecheck.inspection import inspect as run

    with measuring(quiet=True):
        found = run(
            model, key=key, arch=arch, model_def=model_def, architecture=architecture, moments=moments, sha256=sha256
        )
    if format_ == "json":
        from collapsecheck.reports.inspection_json import render_json

        text = render_json(found)
    else:
        from collapsecheck.reports.inspection_text import render_text

        width = terminal_width() if output is None else 100
        text = render_text(found, layers=shown, width=width, color=output is None and colorful())
    if output is None:
        write_stdout(text)
    else:
        write_file(text, output)
    return 0


def _shown(text: str) -> int | None:
    """`30` -> 30; `all` -> None."""
    if text == "all":
        return None
    try:
        count = int(text)
    except ValueError:
        count = -1
    if count < 0:
        raise UsageError(f"--layers takes a whole number or all, not {text!r}")
    return count
