"""`collapsecheck embeddings FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collapsecheck.cli import options
from collapsecheck.cli.output import deliver, measuring, renderer_for


def embeddings(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Vectors [n, d]: .npy (memory-mapped), .npz, .pt or .safetensors.")
    ],
    labels: options.Labels = None,
    seed: options.Seed = None,
    fail_on: options.FailOn = None,
    require: options.Require = None,
    select: options.Select = None,
    ignore: options.Ignore = None,
    set_: options.Set = None,
    format_: options.Format = "text",
    output: options.Output = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,  # noqa: ARG001 - read by the entry point
) -> int:
    """The same statistics, checks, verdict and gate on ready vectors; no model is needed."""
    settings = options.settings_from(
        set_=set_, require=require, select=select, ignore=ignore, fail_on=fail_on, seed=seed
    )
    renderer = renderer_for(format_, output)

    from collapsecheck.scanning import scan_embeddings

    with measuring(quiet) as progress:
        report = scan_embeddings(file, labels=labels, settings=settings, progress=progress)
    return deliver(report, renderer, output)
