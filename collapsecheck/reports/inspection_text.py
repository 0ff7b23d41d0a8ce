"""`collapsecheck inspect` for people at a terminal: at 80 columns, and without colour too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from collapsecheck.errors import printable
from collapsecheck.reports.inspection import ArchitectureFacts, Entry, Inspection, Layer, Use
from collapsecheck.reports.training_text import training
from collapsecheck.reports.wording import counted, few, size_of

WIDTH = 80
_MOST_ENTRIES = 40
_MOST_NOTES = 20
_USES = {
    Use.CHOSEN: ("chosen", "bold green"),
    Use.OTHER_WEIGHTS: ("other weights", "yellow"),
    Use.MOVING_AVERAGE: ("moving average", "yellow"),
    Use.TRAINING_STATE: ("training state", "default"),
    Use.IGNORED: ("ignored", "dim"),
}


def render_text(
    inspection: Inspection, *, layers: int | None = 30, width: int | None = None, color: bool = False
) -> str:
    """Lay the inspection out for a terminal `width` columns wide, with at most so many `layers` (None: all)."""
    out = StringIO()
    console = Console(
        file=out,
        width=width or WIDTH,
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        highlight=False,
        markup=False,  # names in a file may look like it
        emoji=False,
        legacy_windows=False,
    )
    for part in (
        Group(*_file(inspection)),
        Group(*_entries(inspection)),
        Group(*_architecture(inspection)),
        Group(*_layers(inspection, layers)),
        Group(*training(inspection.training, layers)),
    ):
        console.print(part)
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines())
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n") + "\n"


def _file(inspection: Inspection) -> Iterator[RenderableType]:
    files = f" in {inspection.files} files" if inspection.files > 1 else ""
    text = Text(printable(inspection.path), style="bold")
    text.append(f"\n{inspection.format}, {size_of(inspection.bytes)}{files}; nothing in it was executed", "not bold")
    if inspection.sha256:
        text.append(f"\nsha256 {inspection.sha256}", "not bold")
    yield text
    if inspection.runs_code:
        yield Text("The model itself is in it as code; a scan runs it with --trust-checkpoint only.", style="yellow")
    for identifier, message, names in inspection.notes[:_MOST_NOTES]:
        about = f" ({few(names)})" if names and not all(name in message for name in names[:5]) else ""
        yield Text(f"{identifier}: {printable(message, 400)}{about}", style="yellow")
    for name, value in list(inspection.metadata.items())[:_MOST_NOTES]:
        yield Text(f"{printable(name, 40)}: {printable(_inline(value), 200)}", style="dim")
    yield ""


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_inline(one)}" for name, one in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return str(value)


def _entries(inspection: Inspection) -> Iterator[RenderableType]:
    yield Text("What is in the file", style="bold")
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("entry", overflow="fold", max_width=26)
    table.add_column("what", overflow="fold")
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("use", overflow="fold", max_width=24)
    for entry in inspection.entries[:_MOST_ENTRIES]:
        word, style = _USES[entry.use]
        why = f": {printable(entry.why, 60)}" if entry.why else ""
        table.add_row(
            Text(printable(entry.key, 80) or "(the top)"),
            Text(_what(entry)),
            Text(size_of(entry.bytes) if entry.tensors else ""),
            Text(f"{word}{why}", style=style),
        )
    yield table
    if len(inspection.entries) > _MOST_ENTRIES:
        yield Text(f"and {len(inspection.entries) - _MOST_ENTRIES:,} more entries (--format json)", style="dim")
    if inspection.weights is None:
        yield Text(f"No weights to use: {printable(inspection.no_weights, 400)}", style="yellow")
    yield ""


def _what(entry: Entry) -> str:
    kind = printable(entry.kind, 80)
    shown = printable(entry.shown, 60)
    if entry.tensors:
        numbers = f"{counted(entry.tensors, 'tensor')}, {counted(entry.numbers, 'number')}"
        return f"{kind}: {numbers}" if entry.kind != "tensors" else numbers
    return f"{kind} {shown}".strip()


def _architecture(inspection: Inspection) -> Iterator[RenderableType]:
    facts = inspection.architecture
    if facts is None:
        return
    yield Text("Architecture", style="bold")
    if facts.name is None:
        yield Text(f"not told: {printable(facts.reason, 600)}", style="yellow")
    else:
        yield Text(f"{printable(facts.name)}{f' ({printable(facts.reason, 400)})' if facts.reason else ''}")
        yield from _differences(facts)
    if facts.assumed:
        yield Text(f"assumed, as weights do not tell it: {printable('; '.join(facts.assumed), 600)}", style="dim")
    yield ""


def _differences(facts: ArchitectureFacts) -> Iterator[RenderableType]:
    for word, names in (
        ("missing in the file", facts.missing_keys),
        ("not in the model", facts.unexpected_keys),
        ("of another shape", facts.mismatched_keys),
    ):
        if names:
            yield Text(f"{len(names):,} {word}: {few(names)}", style="yellow")


def _layers(inspection: Inspection, most: int | None) -> Iterator[RenderableType]:
    weights = inspection.weights
    if weights is None:
        return
    kinds = ", ".join(dtype if len(weights.dtypes) == 1 else f"{n} {dtype}" for dtype, n in weights.dtypes.items())
    at = f" at {printable(weights.key, 60)}" if weights.key else ""
    total = f"{counted(weights.parameters, 'parameter')} in {counted(weights.tensors, 'tensor')} ({kinds})"
    yield Text(f"Layers{at}: {total}", style="bold")
    for prefix in weights.prefixes:
        yield Text(f"{printable(prefix, 60)} is taken off the names", style="dim")
    if weights.added_prefix:
        yield Text(f"{printable(weights.added_prefix, 60)} is put in front of the names", style="dim")
    shown = inspection.layers if most is None else inspection.layers[:most]
    if shown:
        usual = next(iter(weights.dtypes), "")
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        table.add_column("layer", overflow="fold", max_width=36)
        table.add_column("parameters", justify="right", no_wrap=True)
        table.add_column("tensors", overflow="fold")
        for layer in shown:
            name = Text(printable(layer.name, 120) or "(the top)")
            table.add_row(name, Text(f"{layer.parameters:,}"), Text(_tensors(layer, usual)))
        yield table
    left = len(inspection.layers) - len(shown)
    if left:
        yield Text(f"and {counted(left, 'more layer')} (--layers all)", style="dim")
    yield ""


def _tensors(layer: Layer, usual: str) -> str:
    parts = []
    for last, (dtype, shape) in list(layer.tensors.items())[:12]:
        if last == "num_batches_tracked":
            continue
        size = "×".join(map(str, shape)) or "scalar"
        parts.append(f"{printable(last, 40)} {size}" + (f" {dtype}" if dtype != usual else ""))
    more = f", and {len(layer.tensors) - 12} more" if len(layer.tensors) > 12 else ""
    kind = f"{printable(layer.kind, 40)}: " if layer.kind else ""
    return kind + ", ".join(_merged(parts)) + more


def _merged(parts: list[str]) -> list[str]:
    """`weight 64, bias 64` -> `weight and bias 64`: what has the same size is named together."""
    by_size: dict[str, list[str]] = {}
    for part in parts:
        name, _, size = part.partition(" ")
        by_size.setdefault(size, []).append(name)
    return [f"{', '.join(names)} {size}" for size, names in by_size.items()]
