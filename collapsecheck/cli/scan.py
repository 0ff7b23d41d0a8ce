"""`collapsecheck scan MODEL DATA`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collapsecheck.cli import options
from collapsecheck.cli.output import deliver, measuring, renderer_for
from collapsecheck.errors import UsageError, did_you_mean


def scan(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="Checkpoint: .pt, .pth, .ckpt, .safetensors, .onnx, a Hugging Face directory …"
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA", help="Folder of images (class sub-folders give labels), array, table, text, tar, sound …"
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="FILE_OR_MODULE:CALLABLE", help="In place of DATA: your code's data set."),
    ] = None,
    column: Annotated[str | None, typer.Option("--column", help="Column of a table that is the input.")] = None,
    sample_rate: Annotated[
        int | None, typer.Option("--sample-rate", help="Bring sounds to so many samples a second, such as 16000.")
    ] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", help="Cut or fill sounds to this length.")] = None,
    max_pixels: Annotated[
        int | None, typer.Option("--max-pixels", help="Images with more count as unreadable (64000000).")
    ] = None,
    model_def: Annotated[
        str | None,
        typer.Option("--model-def", metavar="FILE_OR_MODULE:CALLABLE", help="Your code that builds the model."),
    ] = None,
    arch: Annotated[str | None, typer.Option("--arch", help="A torchvision model, such as resnet18.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Where in the file the weights are, such as state.model.")
    ] = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Go on when some weights do not fit, and report them.")
    ] = False,
    trust_checkpoint: Annotated[
        bool,
        typer.Option("--trust-checkpoint", help="Let code in the file run, in a limited process of its own."),
    ] = False,
    layer: Annotated[
        str | None, typer.Option("--layer", help="Take the embedding from this module (a name of named_modules).")
    ] = None,
    pool: Annotated[
        str, typer.Option("--pool", help="How tokens become one embedding: mean, or cls (the first token).")
    ] = "mean",
    size: Annotated[str | None, typer.Option("--size", help="Resize images: 224 (square) or 128x256.")] = None,
    mean: Annotated[str | None, typer.Option("--mean", help="Subtract: 0.45, or one number per channel.")] = None,
    std: Annotated[str | None, typer.Option("--std", help="Divide by: 0.225, or one number per channel.")] = None,
    input_scale: Annotated[
        float | None,
        typer.Option("--input-scale", help="Multiply pixels in 0..1, or array values, before mean and std."),
    ] = None,
    transform: Annotated[
        str | None,
        typer.Option("--transform", metavar="FILE_OR_MODULE:CALLABLE", help="Your code: image or row -> tensor."),
    ] = None,
    labels: options.Labels = None,
    loss: Annotated[
        str | None,
        typer.Option(
            "--loss",
            metavar="NAME or FILE_OR_MODULE:CALLABLE",
            help="Loss of the training: triplet, batch-hard-triplet, contrastive, sup-con, nt-xent, cross-entropy, "
            "cosine-bce, positive-cosine, vicreg, mse, or your code; else what the file tells.",
        ),
    ] = None,
    margin: Annotated[float | None, typer.Option("--margin", help="Margin of that loss.")] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", help="Temperature of that loss.")] = None,
    last_loss: Annotated[
        float | None, typer.Option("--last-loss", help="Its last value in the training; else what the file tells.")
    ] = None,
    max_samples: Annotated[
        int | None, typer.Option("--max-samples", help="Use at most so many items, drawn evenly from the classes.")
    ] = None,
    max_unreadable: Annotated[
        float | None, typer.Option("--max-unreadable", help="Share of unreadable items that fails the gate (0.01).")
    ] = None,
    batch_size: Annotated[str | None, typer.Option("--batch-size", help="auto, or a number.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")] = None,
    precision: Annotated[str | None, typer.Option("--precision", help="fp32, bf16 or fp16 (autocast).")] = None,
    workers: Annotated[
        str | None, typer.Option("--workers", help="Processes that read data: auto, or a number.")
    ] = None,
    diagnose: Annotated[
        bool | None, typer.Option("--diagnose/--no-diagnose", help="Look for the cause by experiments on a copy.")
    ] = None,
    gradcheck: Annotated[
        str | None,
        typer.Option(
            "--gradcheck", help="Compare gradients with finite differences: of custom operations, layers, or never."
        ),
    ] = None,
    trial: Annotated[
        float | None,
        typer.Option("--trial", metavar="SECONDS", help="Time to train fresh copies, for what only that can prove."),
    ] = None,
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
    """Scan a checkpoint on a data set and say whether its embeddings still tell items apart.

    Nothing in the checkpoint is executed, unless --trust-checkpoint is given. The report goes to stdout,
    everything else to stderr.
    """
    settings = options.settings_from(
        set_=set_, require=require, select=select, ignore=ignore, fail_on=fail_on, seed=seed,
        diagnose=diagnose, gradcheck=gradcheck, trial=trial, max_samples=max_samples, max_unreadable=max_unreadable,
        device=device, precision=precision,
        batch_size=options.whole(batch_size, "--batch-size"), workers=options.whole(workers, "--workers"),
    )  # fmt: skip
    renderer = renderer_for(format_, output)
    if pool not in ("mean", "cls"):
        raise UsageError(f"unknown value {pool!r} for --pool{did_you_mean(pool, ('mean', 'cls'))}")
    if data is None and dataset is None:
        raise UsageError("Missing argument 'DATA': a folder or a file; or give --dataset FILE_OR_MODULE:CALLABLE")
    if data is not None and dataset is not None:
        raise UsageError("DATA and --dataset are two sources of data; give one of them")
    for path in (model, data):
        if path is not None and not path.exists():
            raise UsageError(f"{path}: no such file or folder")

    from collapsecheck.scanning import scan as run

    with measuring(quiet) as progress:
        report = run(
            model, data, dataset=dataset, column=column, sample_rate=sample_rate, seconds=seconds,
            max_pixels=max_pixels, model_def=model_def, arch=arch, key=key,
            allow_partial=allow_partial, trust_checkpoint=trust_checkpoint, layer=layer,
            pool="cls" if pool == "cls" else "mean", size=options.size(size), mean=options.numbers(mean, "--mean"),
            std=options.numbers(std, "--std"), input_scale=input_scale, transform=transform, labels=labels,
            loss=loss, margin=margin, temperature=temperature, last_loss=last_loss, settings=settings,
            progress=progress,
        )  # fmt: skip
    return deliver(report, renderer, output)
