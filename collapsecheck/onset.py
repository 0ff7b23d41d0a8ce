"""Where in depth a symptom begins: the step after the last one that was still sound."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from collapsecheck.checks import Kind
from collapsecheck.observe.layers import Flow, Layer
from collapsecheck.observe.trace import Site

# Inputs that are themselves this much alike, or of this rank, cannot be told apart by any model.
POOR_INPUT = {Kind.COMPLETE: 1e-3, Kind.CONE: 1e-3, Kind.DIMENSIONAL: 1.5, Kind.NORM: 1e-6, Kind.CLUSTER: 0.2}
# The change begins where a tenth of it is over, and ends where nine tenths are, on a logarithmic scale.
TAIL = 0.1
# What falls by less than this factor altogether does not fall.
SMALLEST_FALL = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Onset:
    """The step in which most of the loss happens.

    `layer` is a `named_modules()` key, "input" for the data; `step` names it for people, with the function where it
    is one. `before` and `after` are the values of `measure` around it. `first` and `last` are the steps between which
    nine tenths of the loss lie: the same one where it is sudden.
    """

    layer: str
    step: str
    type: str
    depth: float
    measure: str
    before: float
    after: float
    first: str
    last: str

    @property
    def gradual(self) -> bool:
        """Whether the loss spreads over several steps."""
        return self.first != self.last


def measured(kind: Kind) -> tuple[str, Callable[[Flow], float]]:
    """The number by which a kind of collapse is followed through depth, by name."""
    if kind is Kind.DIMENSIONAL:
        return "effective rank", lambda flow: flow.effective_rank
    if kind is Kind.NORM:
        return "root mean square", lambda flow: flow.rms
    if kind is Kind.CLUSTER:
        return "share of distinct rows", lambda flow: flow.distinct_share
    return "relative spread", lambda flow: flow.relative_spread


def locate(path: Sequence[Layer], kind: Kind, non_finite: Callable[[], Collection[Site]] = tuple) -> Onset | None:
    """Find the onset along the steps that lead to the embedding.

    Parameters
    ----------
    path : steps in the order of execution; the last one gives the embedding.
    kind : what was lost there.
    non_finite : asked for the steps that give NaN or Inf anywhere, where that is what is looked for.

    Returns
    -------
    None where no step shows it: then it happens in what is no step, or only in the embedding as a whole.
    """
    if not path:
        return None
    if kind is Kind.NON_FINITE:
        return _first_non_finite(path, non_finite())
    name, measure = measured(kind)
    start = path[0].before
    values = [measure(start) if start is not None else math.nan, *(measure(layer.after) for layer in path)]
    if values[0] <= POOR_INPUT[kind]:
        return _at_input(name, values[0])
    floor = max(min((value for value in values if value > 0), default=1e-30) * 1e-3, 1e-30)
    logs = [math.log(max(value, floor)) if math.isfinite(value) else math.nan for value in values]
    known = [value for value in logs if math.isfinite(value)]
    if len(known) < 2 or not math.isfinite(logs[-1]):
        return None
    top, bottom = max(known), logs[-1]
    fall = top - bottom
    if fall < math.log(SMALLEST_FALL):
        return None

    def last_above(level: float) -> int:
        return max(index for index, value in enumerate(logs) if value >= level)

    middle = last_above(bottom + fall / 2)
    begin, end = last_above(top - TAIL * fall), last_above(bottom + TAIL * fall)
    begin, end = min(begin, middle), max(end, middle)
    chosen = path[middle]
    return Onset(
        layer=chosen.site.layer,
        step=str(chosen.site),
        type=chosen.site.function or chosen.site.type,
        depth=float(chosen.depth),
        measure=name,
        before=values[middle],
        after=values[middle + 1],
        first=str(path[min(begin, len(path) - 1)].site),
        last=str(path[min(end, len(path) - 1)].site),
    )


def settled(onset: Onset | None, layer: str, path: Sequence[Layer], kind: Kind) -> Onset | None:
    """The onset when an experiment has proven at which layer the loss begins.

    A statistic sees where most of the spread goes; what goes wrong before may show only behind the next activation.

    Parameters
    ----------
    onset : as the depth profile alone has it.
    layer : where the proven cause is; "input" for the data.
    """
    name, measure = measured(kind)
    last = onset.last if onset is not None else ""
    if onset is not None and onset.layer == layer:
        return onset
    if layer == "input":
        start = path[0].before if path else None
        found = _at_input(name, measure(start) if start is not None and kind is not Kind.NON_FINITE else math.nan)
        return replace(found, last=last or "input")
    steps = [step for step in path if step.site.layer == layer]
    if not layer or not steps:
        return onset
    step, place = steps[0], path.index(steps[0])
    if kind is Kind.NON_FINITE:
        before, after = 1.0, float(step.after.finite)
    else:
        came = step.before or (path[place - 1].after if place else None)
        before, after = measure(came) if came is not None else math.nan, measure(step.after)
    shown = str(step.site)
    ends = {str(one.site): one.depth for one in path}
    return Onset(
        layer=layer,
        step=shown,
        type=step.site.function or step.site.type,
        depth=float(step.depth),
        measure=name,
        before=before,
        after=after,
        first=shown,
        last=last if ends.get(last, -1) > step.depth else shown,
    )


def _first_non_finite(path: Sequence[Layer], known: Collection[Site]) -> Onset | None:
    name, start = "finite values", path[0].before
    if start is not None and not start.finite:
        return _at_input(name, 0.0)
    found = next((layer for layer in path if layer.site in known or not layer.after.finite), None)
    if found is None:
        return None
    step = str(found.site)
    return Onset(
        layer=found.site.layer,
        step=step,
        type=found.site.function or found.site.type,
        depth=float(found.depth),
        measure=name,
        before=1.0,
        after=0.0,
        first=step,
        last=step,
    )


def _at_input(measure: str, value: float) -> Onset:
    return Onset(
        layer="input",
        step="input",
        type="data",
        depth=-1.0,
        measure=measure,
        before=value,
        after=value,
        first="input",
        last="input",
    )
