"""For people at a terminal: the verdict first, then the numbers behind it, at 80 columns and without colour too."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from io import StringIO

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from collapsecheck.causes import Diagnosis
from collapsecheck.causes import Status as Sure
from collapsecheck.checks import Finding, Level, Outcome
from collapsecheck.discovery import documentation
from collapsecheck.errors import printable
from collapsecheck.reports import LayerFacts, Renderer, Report
from collapsecheck.reports.pictures import bar_of, histogram, spectrum_bars
from collapsecheck.statistics.measurement import Measurement
from collapsecheck.verdict import Status, Verdict

WIDTH = 80
COLORS = {
    Status.HEALTHY: "green",
    Status.DEGRADED: "yellow",
    Status.COLLAPSED: "red",
    Status.INCONCLUSIVE: "magenta",
}
LEVELS = {Level.ERROR: ("ERROR", "red"), Level.WARNING: ("WARNING", "yellow"), Level.NOTE: ("note", "cyan")}


class TextReport(Renderer):
    """The default format of `scan` and `embeddings`."""

    def render(self, report: Report, *, width: int | None = None, color: bool = False) -> str:
        """Lay the report out for a terminal `width` columns wide."""
        out = StringIO()
        console = Console(
            file=out,
            width=width or WIDTH,
            force_terminal=color,
            color_system="standard" if color else None,
            no_color=not color,
            highlight=False,
            emoji=False,
            legacy_windows=False,
        )
        for part in (
            headline(report.verdict),
            Group(*why(report)),
            Group(*training(report)),
            facts(report),
            numbers(report),
            Group(*pictures(report, console.width)),
            Group(*depth(report, console.width)),
            Group(*findings(report)),
            footer(report),
        ):
            console.print(part)
        text = "\n".join(line.rstrip() for line in out.getvalue().splitlines())
        return re.sub(r"\n{3,}", "\n\n", text).strip("\n") + "\n"  # a part that is empty leaves no gap


def headline(verdict: Verdict) -> RenderableType:
    """The verdict in words, and the two answers that stay apart."""
    kind = f" ({verdict.kind})" if verdict.kind else ""
    text = Text(f"{verdict.status.upper()}{kind}", style=f"bold {COLORS[verdict.status]}")
    text.append(f"\n{printable(verdict.reason, 600)}", style="not bold default")
    if verdict.status is not Status.INCONCLUSIVE:
        kept = {True: "kept", False: "lost", None: "cannot be told"}[verdict.information_kept]
        if verdict.status is Status.COLLAPSED and verdict.information_kept:
            kept = "not destroyed, but drowned: differences are left far below what cosine shows"
        usable = {True: "usable", False: "not usable", None: "not looked at"}[verdict.cosine_usable]
        text.append(f"\nInformation about the items: {kept}. Raw cosine similarity: {usable}.", "not bold default")
    if verdict.borderline:
        checks = ", ".join(verdict.borderline)
        text.append(f"\nClose to a threshold: {checks}. Another sample may read differently.", "yellow")
    return Group(text, "")


SURE = {
    Sure.CONFIRMED: ("Why, confirmed by experiment", "bold red"),
    Sure.LIKELY: ("Why, most likely", "bold yellow"),
    Sure.UNTESTED: ("Perhaps, not tested", "bold"),
}
EXPECTED = "Worth knowing, no fault by itself", "bold"
SHOWN_REMEDIES = 2


def why(report: Report) -> Iterator[RenderableType]:
    """The best explanation with its experiment, and what to do; other explanations in a line each."""
    told = [one for one in report.diagnoses if one.status in SURE]
    if not told:
        refuted = [one.cause for one in report.diagnoses]
        if refuted:
            yield Text(f"No cause could be confirmed; ruled out by experiment: {', '.join(refuted)}.", style="dim")
            yield ""
        return
    first, *others = told
    word, style = EXPECTED if first.expected else SURE[first.status]
    joint = f" together with {', '.join(first.together)}" if first.together else ""
    yield Text.assemble((f"{word}: ", style), (first.cause, "bold"), (joint, "bold"), _place(report, first.layer))
    meaning = dict(documentation("collapsecheck.causes")).get(first.cause, "").partition("\n")[0]
    if meaning:
        yield Padding(Text(meaning), (0, 0, 0, 2))
    yield Padding(Text(printable(first.evidence, 600) + "."), (0, 0, 0, 2))
    if first.change:
        yield Padding(Text(f"Tried on a copy: {printable(first.change, 300)}."), (0, 0, 0, 2))
        yield Padding(_experiment(first), (0, 0, 0, 4))
    if first.reason:
        yield Padding(
            Text(printable(first.reason, 400)[:1].upper() + printable(first.reason, 400)[1:] + "."), (0, 0, 0, 2)
        )
    for remedy in first.remedies[:SHOWN_REMEDIES]:
        yield Text.assemble(("What to do: ", "bold green"), printable(remedy.title, 300))
        if remedy.snippet:
            yield Padding(Text(remedy.snippet, style="cyan"), (0, 0, 0, 4))
        if remedy.effect:
            yield Padding(Text(printable(remedy.effect, 300), style="dim"), (0, 0, 0, 2))
    for other in others:
        word = "also sufficient" if other.also_sufficient else other.status.value
        yield Text(f"{word}: {other.cause}{_place(report, other.layer)}: {printable(other.evidence, 200)}", style="dim")
    yield ""


def training(report: Report) -> Iterator[RenderableType]:
    """What the training would do from here."""
    if report.outlook is None or not report.outlook.sentences:
        return
    yield Text("What the training would do from here", style="bold")
    for sentence in report.outlook.sentences:
        yield Padding(Text(printable(sentence, 800)), (0, 0, 0, 2))
    yield ""


def _place(report: Report, layer: str) -> str:
    """Where a cause is, in words: a name such as 0 alone would not be understood as that of a layer."""
    if layer in ("", "input"):
        return ", in the data" if layer else ""
    kind = next((one.type for one in report.layers if one.layer == layer and one.step == layer), "")
    return f", at layer {printable(layer, 80)}" + f" ({printable(kind, 40)})" * bool(kind)


NAMES = {
    "unit_spread": "spread of directions",
    "embedding_moves": "an item moves by",
    "mean_cosine": "mean cosine",
    "unit_effective_rank": "effective rank",
    "norm_median": "median length",
}


def _experiment(diagnosis: Diagnosis) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    columns = {"before": diagnosis.before, "after": diagnosis.after, "after a sham": diagnosis.control}
    columns = {name: values for name, values in columns.items() if values}
    for heading in ("", *columns):
        table.add_column(heading, no_wrap=True)
    for name, label in NAMES.items():
        if any(name in values for values in columns.values()):
            cells = (shown(values[name]) if name in values else "–" for values in columns.values())
            table.add_row(label, *cells)
    return table


PROFILE_LINES = 14


def depth(report: Report, width: int) -> Iterator[RenderableType]:
    """How the spread falls through the layers: the steps around the onset, and some of the others."""
    if report.onset is None or not report.layers:
        return
    onset = report.onset
    through = f", gradually from {printable(onset.first, 60)} to {printable(onset.last, 60)}" if onset.gradual else ""
    yield Text.assemble(
        ("where it begins: ", "bold"),
        f"{printable(onset.step, 80)} ({onset.measure} {shown(onset.before, 2)} → {shown(onset.after, 2)}{through})",
    )
    for layer in _some(report):
        value = {"effective rank": layer.effective_rank, "root mean square": layer.rms}.get(
            onset.measure, layer.relative_spread
        )
        name = printable(f"{layer.step} {layer.type}" if layer.type not in layer.step else layer.step, 200)
        room = min(44, width - 34)
        mark = "▶" if layer.step == onset.step else " "
        bar = bar_of(value, onset.measure, 16)
        yield Text(
            f"{mark} {name[: room - 1]:<{room}} {shown(value, 2):>8}  {bar}".rstrip(),
            style="red" if mark == "▶" else "",
        )
    yield ""


def _some(report: Report) -> list[LayerFacts]:
    """At most so many steps: the ends, those around the onset, and others evenly."""
    layers, onset = report.layers, report.onset
    if len(layers) <= PROFILE_LINES:
        return list(layers)
    at = next((i for i, layer in enumerate(layers) if onset is not None and layer.step == onset.step), 0)
    chosen = {0, len(layers) - 1, *range(max(at - 2, 0), min(at + 3, len(layers)))}
    for count in range(1, len(layers)):
        more = {round(i * (len(layers) - 1) / count) for i in range(count + 1)}
        if len(chosen | more) > PROFILE_LINES:
            break
        kept = chosen | more
    return [layers[i] for i in sorted(kept)]


TRUST = {
    "data-only": "nothing in it was executed",
    "known-classes": "built from classes of installed libraries; nothing in it was executed",
    "code": "CODE IN THE FILE WAS EXECUTED, as --trust-checkpoint allows",
}


def facts(report: Report) -> RenderableType:
    """What was scanned, which layer was taken, and what was done to the data."""
    model, data = report.model, report.data
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    if model.architecture is None:
        grid.add_row(
            "vectors", Text(f"{printable(model.path)}: {data.used} rows of {model.embedding_dim} ({data.kind})")
        )
    else:
        grid.add_row("model", Text(f"{printable(model.path)} ({model.format}; {TRUST[model.trust]})"))
        found = f" ({printable(model.architecture_reason, 400)})" if model.architecture_reason else ""
        grid.add_row("", Text(f"{printable(model.architecture)}, {model.parameters:,} parameters{found}"))
        if model.assumed:
            grid.add_row("assumed", Text(printable("; ".join(model.assumed), 600)))
        for note in model.notes:
            grid.add_row("note", Text(printable(note, 400), style="yellow"))
        grid.add_row("layer", Text(f"{printable(model.embedding_layer or '')}, {model.embedding_dim} values"))
        grid.add_row("", Text(printable(model.embedding_reason or "", 400)))
        classes = f", {data.labels} classes" if data.labels else ""
        grid.add_row("data", Text(f"{printable(data.path)} ({data.kind}): {data.used} of {data.seen} items{classes}"))
        grid.add_row("input", Text(printable(data.transform or "", 400)))
    if data.unreadable:
        grid.add_row("unread", Text(f"{data.unreadable} items could not be read and were skipped", style="yellow"))
    return Group(grid, "")


def shown(value: float, digits: int = 3) -> str:
    """A number with `digits` significant digits, never in a form that hides which side of 1 it is on."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if abs(value) >= 10**digits:
        return f"{value:,.0f}" if abs(value) < 1e7 else f"{value:.{digits - 1}e}"
    if abs(value) < 1e-3:
        return f"{value:.1e}"
    magnitude = int(f"{value:.{digits - 1}e}".partition("e")[2])  # of the rounded number: 0.0999 is shown as 0.10
    return f"{value:.{max(digits - 1 - magnitude, 0)}f}"


def fixed(value: float, decimals: int) -> str:
    """A number with so many decimals; a tiny negative one is no -0.00."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def measured(measurement: Measurement, *, cosine: bool = False) -> str:
    """Value ± half the width of its interval."""
    value = fixed(measurement.value, 4) if cosine else shown(measurement.value)
    if measurement.interval is None:
        return value
    half = (measurement.interval[1] - measurement.interval[0]) / 2
    return f"{value} ± {shown(half, 2)}"


def numbers(report: Report) -> RenderableType:
    """Metric, value ± interval, and what healthy looks like for this number of rows and dimensions."""
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("measured", no_wrap=True)
    table.add_column("value", no_wrap=True)
    rows, dimension = report.metrics["rows"].value, report.model.embedding_dim
    table.add_column(f"healthy for {rows:.0f} × {dimension}", overflow="fold")
    for label, value, healthy in rows_of_numbers(report):
        table.add_row(Text(label), Text(value), Text(healthy, style="dim"))
    return Group(table, "")


def rows_of_numbers(report: Report) -> Iterator[tuple[str, str, str]]:
    """The metrics worth a line, those that could be had."""
    m = {name: item for name, item in report.metrics.items() if item.known}
    n, d = int(report.metrics["rows"].value), report.model.embedding_dim

    if "mean_cosine" in m:
        inputs = f"; the inputs: {fixed(m['input_mean_cosine'].value, 2)}" if "input_mean_cosine" in m else ""
        yield "mean cosine of all pairs", measured(m["mean_cosine"], cosine=True), f"below 0.9{inputs}"
        if m["mean_cosine"].value > 0.995:
            yield "  1 − mean cosine", measured(m["mean_cosine_gap"]), "above 0.02"
    if "cosine_std" in m:
        yield "  deviation of the cosines", measured(m["cosine_std"]), f"{shown(1 / math.sqrt(d), 2)} if all random"
    if "unit_spread" in m:
        yield "spread of directions", measured(m["unit_spread"]), "0.3 to 1"
    if "unit_effective_rank" in m:
        rank = m["unit_effective_rank"]
        most = rank.null or d
        inputs = f"; the inputs: {m['input_effective_rank'].value:.0f}" if "input_effective_rank" in m else ""
        yield "effective rank of directions", measured(rank), f"{shown(min(3, most / 3), 2)} to {shown(most)}{inputs}"
    if "distinct_rows" in m:
        of = f" ({m['distinct_inputs'].value:.0f} inputs)" if "distinct_inputs" in m else ""
        yield "distinct embeddings", f"{m['distinct_rows'].value:.0f} of {n}", f"all{of}"
    if "nearest_neighbour_ratio" in m:
        ratio = m["nearest_neighbour_ratio"]
        expected = f"about {shown(ratio.null, 2)}" if ratio.null is not None and math.isfinite(ratio.null) else ""
        yield "nearest neighbour / typical", shown(ratio.value), expected
    if "dead_dimensions" in m:
        yield "dead dimensions", f"{m['dead_dimensions'].value:.0f} of {d}", "0; after a ReLU up to 25 %"
    if "norm_median" in m:
        yield "median length", shown(m["norm_median"].value), "any, but not vanishing"
    if m["zero_rows"].value:
        yield "zero rows", f"{m['zero_rows'].value:.0f} of {n}", "0"
    if "neighbour_accuracy" in m:
        chance = f"above chance, {m['neighbour_accuracy'].null:.2f}"
        yield "same label as neighbours", measured(m["neighbour_accuracy"]), chance


def pictures(report: Report, width: int) -> Iterator[RenderableType]:
    """The cosine histogram and the spectrum as block characters."""
    if len(report.cosine_histogram) and report.model.embedding_dim > 1:
        low, high = report.cosine_range
        decimals = min(max(2, 2 - math.floor(math.log10(max(high - low, 1e-12)))), 9)
        left, right = fixed(low, decimals), fixed(high, decimals)
        yield Text("cosines of pairs", style="bold")
        yield Text(f"  {left} {histogram(report.cosine_histogram, width - len(left) - len(right) - 4)} {right}")
    if len(report.spectrum) > 1:
        count = len(report.spectrum)
        bars = spectrum_bars(report.spectrum, min(count, width - 5 - len(str(count)), 60))
        yield Text("variance by direction, strongest first, each step a factor of ten", style="bold")
        yield Text(f"  1 {bars} {count}")
    yield ""


def findings(report: Report) -> Iterator[RenderableType]:
    """What failed, worst first; then, in one line each, what was skipped and how many passed."""
    order = [Level.ERROR, Level.WARNING, Level.NOTE]
    failed = [f for f in report.findings if f.outcome in (Outcome.FAILED, Outcome.ERRORED)]
    for finding in sorted(failed, key=lambda f: order.index(f.level)):
        yield _line(finding)
    passed = sum(f.outcome is Outcome.PASSED for f in report.findings)
    skipped = [f.check for f in report.findings if f.outcome is Outcome.SKIPPED]
    text = f"{passed} check{'' if passed == 1 else 's'} passed"
    if skipped:
        text += f"; {len(skipped)} could not be made: {', '.join(skipped)}"
    yield Text(f"{text}.", style="dim")
    yield ""


def _line(finding: Finding) -> RenderableType:
    word, color = LEVELS[finding.level]
    if finding.outcome is Outcome.ERRORED:
        word = "BROKEN"
    text = Text(f"{word} ", style=color)
    text.append(f"{finding.check}: ", style="bold default")
    text.append(printable(finding.message, 400), style="default")
    return Padding(text, (0, 0, 0, 0))


def footer(report: Report) -> RenderableType:
    """The gate, with its reasons and the exit code; then where to read on."""
    gate = report.gate
    text = Text()
    for requirement, met in gate.requirements:
        text.append(f"required {requirement}: {met}\n")
    reasons = "; ".join(printable(reason, 300) for reason in gate.reasons)
    if not reasons:
        healthy = report.verdict.status is Status.HEALTHY
        reasons = "nothing against it" if healthy else f"--fail-on {gate.fail_on} lets {report.verdict.status} pass"
    word = "PASS" if gate.passed else "FAIL"
    text.append(word, style="bold green" if gate.passed else "bold red")
    text.append(f": {reasons} (exit code {int(gate.exit_code)})")
    worst = [f for f in report.findings if f.outcome is Outcome.FAILED and f.level is not Level.NOTE]
    if worst and report.verdict.status is not Status.INCONCLUSIVE:
        first = next((f for f in worst if f.kind and f.kind == report.verdict.kind), worst[0])
        text.append(f"\nWhat usually causes this: collapsecheck explain {first.check}", style="dim")
    return text
