"""Options that several commands share, and the settings they make."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from collapsecheck.errors import UsageError
from collapsecheck.settings import AUTO, Settings, load_settings, parse_thresholds

Labels = Annotated[
    Path | None, typer.Option("--labels", help="Labels: .npy, .npz, .pt, .txt (one per line) or .csv (name,label).")
]
FailOn = Annotated[
    str | None, typer.Option("--fail-on", help="Status that fails the gate: collapsed (default), degraded or never.")
]
Require = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        metavar="METRIC>=NUMBER",
        help="Fail unless this holds; repeatable. Fails only when the whole 95 % interval is on the wrong side, "
        'for example "effective_rank>=32".',
    ),
]
Select = Annotated[
    list[str] | None, typer.Option("--select", metavar="CHECK", help="Make only this check; repeatable.")
]
Ignore = Annotated[
    list[str] | None, typer.Option("--ignore", metavar="CHECK", help="Leave this check out; repeatable.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="CHECK.NAME=NUMBER", help="Replace a threshold, e.g. mean-cosine.warning=0.97."),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of every sample that is drawn (default 0).")]
Format = Annotated[str, typer.Option("--format", help="Format of the report: text or json.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write the report to this file.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show tracebacks of errors.")]


def settings_from(
    *,
    set_: list[str] | None,
    require: list[str] | None,
    select: list[str] | None,
    ignore: list[str] | None,
    **flags: Any,
) -> Settings:
    """Settings from the flags, the environment and pyproject.toml."""
    return load_settings(
        {
            "thresholds": parse_thresholds(set_ or []),
            "require": tuple(require or ()),
            "select": tuple(select or ()),
            "ignore": tuple(ignore or ()),
            **flags,
        }
    )


def numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    """`0.45` or `0.485,0.456,0.406` -> a tuple."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"{option} takes a number or one per channel, such as 0.485,0.456,0.406, not {text!r}"
        ) from None


def size(text: str | None) -> int | tuple[int, int] | None:
    """`224` -> 224 (a centred square); `128x256` -> (128, 256), height and width."""
    if text is None:
        return None
    try:
        parts = [int(part) for part in text.lower().split("x")]
    except ValueError:
        parts = []
    if len(parts) not in (1, 2) or min(parts) < 1:
        raise UsageError(f"--size takes a number or HEIGHTxWIDTH, such as 224 or 128x256, not {text!r}")
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])


def whole(text: str | None, option: str) -> int | str | None:
    """`auto` or a number; `auto` is passed on, as it takes the place of a number in pyproject.toml."""
    if text is None or text == AUTO:
        return text
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{option} takes a whole number or auto, not {text!r}") from None
