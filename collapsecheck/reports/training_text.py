"""The traces of training, for people at a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from collapsecheck.checkpoints.moments import Moments
from collapsecheck.checkpoints.normalisation_statistics import RunningStatistics
from collapsecheck.checkpoints.optimisers import Optimiser
from collapsecheck.checkpoints.training_state import TrainingState
from collapsecheck.errors import printable
from collapsecheck.reports.wording import counted, few

_SHOWN_SETTINGS = ("lr", "betas", "momentum", "weight_decay", "eps")
_MOST_GROUPS = 5
_MOST_SETTINGS = 30


def training(state: TrainingState, most: int | None) -> Iterator[RenderableType]:
    """Lines about what is known; nothing at all where the file tells nothing."""
    if not state.known:
        return
    yield Text("Traces of training", style="bold")
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text, style in _rows(state):
        grid.add_row(label, Text(text, style=style))
    yield grid
    for optimiser, moments in zip(state.optimisers, state.moments, strict=False):
        yield ""
        yield from _moments(optimiser, moments, most)
    yield ""


def _rows(state: TrainingState) -> Iterator[tuple[str, str, str]]:
    progress = [
        f"{word} {value:,}" for word, value in (("epoch", state.epoch), ("step", state.step)) if value is not None
    ]
    if progress:
        yield "progress", ", ".join(progress), "default"
    for optimiser in state.optimisers:
        yield "optimiser", _optimiser(optimiser), "default"
        for line in _state_of(optimiser):
            yield "", line, "yellow"
    for scheduler in state.schedulers[:_MOST_GROUPS]:
        rates = f", last rate {', '.join(f'{rate:.4g}' for rate in scheduler.last_rates[:3])}" * bool(
            scheduler.last_rates
        )
        epoch = "" if scheduler.last_epoch is None else f", last epoch {scheduler.last_epoch:,}"
        yield "scheduler", f"{printable(scheduler.key, 60) or 'the top'}{epoch}{rates}", "default"
    if state.scaler:
        scale = state.scaler.get("scale", state.scaler.get("_scale", state.scaler.get("loss_scale")))
        yield "mixed", f"precision, loss scale {printable(str(scale), 40)}", "default"
    if state.lightning_version:
        yield "lightning", printable(state.lightning_version), "default"
    if state.averaged:
        places = few(state.averaged)
        yield "averages", f"moving averages of weights are at {places}; they are not used without --key", "yellow"
    yield from _statistics(state.running_statistics)
    for name, held in state.hyper_parameters.items():
        yield printable(name, 16), _settings(held), "default"


def _optimiser(optimiser: Optimiser) -> str:
    kind = optimiser.kind or "of a kind that is not known"
    groups = counted(optimiser.group_count, "group")
    at = f" at {printable(optimiser.key, 60)}" if optimiser.key else ""
    lines = [f"{printable(kind, 60)}{at}: {groups}, {counted(optimiser.parameters, 'parameter')}"]
    if optimiser.steps is not None:
        low, high = optimiser.steps
        lines[0] += f", {counted(round(high), 'step')}" if low == high else f", {low:,.0f} to {high:,.0f} steps"
    for number, group in enumerate(optimiser.groups[:_MOST_GROUPS]):
        shown = [f"{name} {_value(group.settings[name])}" for name in _SHOWN_SETTINGS if name in group.settings]
        label = f"group {number}: " if optimiser.group_count > 1 else ""
        lines.append(printable(label + ", ".join(shown), 200))
    if optimiser.group_count > _MOST_GROUPS:
        lines.append(f"and {optimiser.group_count - _MOST_GROUPS:,} more groups")
    return "\n".join(line for line in lines if line)


def _state_of(optimiser: Optimiser) -> Iterator[str]:
    without = len(optimiser.without_state)
    if not without or not optimiser.keeps_state:
        return
    if without == optimiser.parameters:
        yield "no parameter has state: no step was made, or the state was not saved"
        return
    yield f"{without:,} never had a gradient: {few([optimiser.names.get(one, one) for one in optimiser.without_state])}"


def _statistics(layers: tuple[RunningStatistics, ...]) -> Iterator[tuple[str, str, str]]:
    if not layers:
        return
    counts = [one.batches for one in layers if one.batches is not None]
    seen = ""
    if counts:
        low, high = min(counts), max(counts)
        seen = f", batches seen: {low:,}" if low == high else f", batches seen: {low:,} to {high:,}"
    yield "batch norm", f"{counted(len(layers), 'layer')}{seen}", "default"
    never = [one.name for one in layers if one.never_updated]
    if never:
        yield "", f"{len(never):,} never updated (mean exactly 0, variance exactly 1): {few(never)}", "yellow"


def _settings(held: Any) -> str:
    if not isinstance(held, Mapping):
        return printable(str(held), 300)
    pairs = [f"{name} {_value(one)}" for name, one in list(held.items())[:_MOST_SETTINGS]]
    more = ", …" if len(held) > _MOST_SETTINGS else ""
    return printable(", ".join(pairs) + more, 1200)


def _value(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return " ".join(map(_value, value)) if len(value) <= 3 else f"({len(value)} values)"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} {_value(one)}" for name, one in list(value.items())[:10]) + "}"
    return str(value)


def _moments(optimiser: Optimiser, moments: tuple[Moments, ...], most: int | None) -> Iterator[RenderableType]:
    kind = printable(optimiser.kind or "the optimiser", 40)
    if not moments:
        yield Text(f"{kind} keeps no moments that could be read", style="dim")
        return
    zero = [one for one in moments if one.always_zero]
    broken = [one for one in moments if not one.finite]
    yield Text(f"Moments of {kind}: the recent gradients of {counted(len(moments), 'parameter')}", style="bold")
    for word, some in (("had gradients that were exactly zero, always", zero), ("hold NaN or Inf", broken)):
        if some:
            names = few([one.name if one.name is not None else one.parameter for one in some])
            yield Text(f"{len(some):,} {word}: {names}", style="yellow")
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("parameter", overflow="fold", max_width=36)
    for title in ("gradient", "mean gradient", "next step / weight"):
        table.add_column(title, justify="right", no_wrap=True)
    shown = moments if most is None else moments[:most]
    for one in shown:
        numbers = (one.gradient_rms, one.mean_gradient_rms, one.relative_update)
        cells = [Text("" if value is None else f"{value:.1e}") for value in numbers]
        table.add_row(Text(printable(str(one.name if one.name is not None else one.parameter), 120)), *cells)
    yield table
    if len(shown) < len(moments):
        yield Text(f"and {len(moments) - len(shown):,} more (--layers all)", style="dim")
