"""What the optimiser in a checkpoint tells of its last steps, and of the parameters that it does not move.

It is evidence, not proof: a file may hold whatever its writer put there, and a frozen backbone is no fault.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from statistics import median
from typing import Any

from collapsecheck.checkpoints.entry_order import Alignment, align
from collapsecheck.checkpoints.optimiser_kinds import steps_by_rate
from collapsecheck.checkpoints.optimisers import (
    Id,
    Optimiser,
    StoredOptimiser,
    find_optimisers,
    names_of,
    parameter_names,
    read_optimiser,
    shape_of,
)
from collapsecheck.checkpoints.plain_values import number
from collapsecheck.checkpoints.steps import Step, peak_rate, read_steps
from collapsecheck.checkpoints.stored import StoredTensor
from collapsecheck.errors import NotLoadableError

# A rate of SGD or LARS in front of an optimiser that moves every weight by about its rate per step.
SIZED_FOR_SGD = 0.02
# How far the running mean of gradients must lie below their size, and below that of the other parameters, for them to
# have stopped: with β₁ = .9, 130 steps without any. What only rounding moves (a bias in front of BatchNorm, that of an
# attention's keys) has a mean of usual size over its own size, however small both are.
STOPPED = 1e-6
# Share of decay in the last step from which nothing else is left in it. (The running mean lags behind weights that
# shrink fast, which looks like a gradient.)
DECAY_ALONE = 0.9
_MOST_COUNTERS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Updates:
    """Root mean square of the next step over that of the weights, over `count` matrices: median, 90th percentile.

    Usual while a model learns: about 1e-3 (Karpathy 2019, "A recipe for training neural networks", and his lectures);
    outside 1e-4..1e-1 is taken for a fault by AutoTrainer (Zhang et al. 2021) and DeepChecker (Ben Braiek & Khomh
    2023). Behind normalisation larger ones are harmless. `at_peak` is the median at the largest rate that the groups
    tell of (`initial_lr`, `max_lr`): at the end of a schedule the last one is nearly zero.
    """

    median: float
    upper: float
    at_peak: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserFacts:
    """Plain facts of the optimisers in a file, held against the weights. Names are as in the file: escape them.

    Unless `fits`, `reason` is a sentence that says why entries and parameters cannot be brought together, and nothing
    else is claimed. `held` parameters have entries, `extra` entries belong to none (a head that was not saved is
    normal). `missing` are parameters that no optimiser holds for sure, `missing_count` how many there are at least;
    frozen parameters are among them. `untouched` are held, but never had a gradient (no state while others have one,
    or all moments exactly zero), `stopped` had one once, but none of late, and `behind` had fewer steps than the
    others. A bias alone is in none of the three. `decayed` are matrices in whose next step nothing but weight decay is
    left. `steps` is the smallest and the largest count.

    `updates` is None where moments are not kept, or not of Adam or SGD. `rate_for_adaptive` is the largest rate, if it
    is one for SGD or LARS and the kind moves every weight by about its rate. `silence` is the median, over matrices, of
    the running mean of gradients over their size: .05 to 1 while the model learns or has learnt, and less by a factor
    of β₁ for each step since no gradient comes any more, in the whole model. `decay_share` is the median share of
    weight decay in the next step of the matrices, in [0, 1] (below 0.5 is usual), `half_life` the median of steps in
    which decay alone would halve them; `decay_left` is what it alone could have left of them, had the rate been at
    its largest all along, in [0, 1]; 1 says that it did nothing. All are None where it is not known how decay acts, the
    last for L2 in Adam too, whose steps do not depend on how strong it is.
    """

    kind: str | None = None
    fits: bool = True
    reason: str = ""
    held: int = 0
    extra: int = 0
    missing: tuple[str, ...] = ()
    missing_count: int = 0
    untouched: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    decayed: tuple[str, ...] = ()
    steps: tuple[float, float] | None = None
    rate_for_adaptive: float | None = None
    updates: Updates | None = None
    silence: float | None = None
    decay_share: float | None = None
    half_life: float | None = None
    decay_left: float | None = None

    def renamed(self, names: Mapping[str, str]) -> OptimiserFacts:
        """The same by other names of the parameters, as those of a module that the weights were loaded into."""

        def other(given: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(names.get(name, name) for name in given)

        return replace(
            self,
            missing=other(self.missing),
            untouched=other(self.untouched),
            stopped=other(self.stopped),
            behind=other(self.behind),
            decayed=other(self.decayed),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """One optimiser with what its entries belong to; `missing_count` is None where it does not fit."""

    stored: StoredOptimiser
    optimiser: Optimiser
    names: Mapping[Id, str]
    missing: frozenset[str]
    missing_count: int
    held: int
    extra: int


def optimiser_facts(
    content: Any, weights: Mapping[str, Any], *, buffers: Collection[str] = ()
) -> OptimiserFacts | None:
    """Hold the optimisers of a checkpoint against its weights; reads all moments. None where there is none.

    Never raises for what the content says.

    Parameters
    ----------
    content
        What the checkpoint holds.
    weights
        The tensors of the model by name, in the order in which they were saved.
    buffers
        Names among them that are no parameters; running statistics are known without.
    """
    optimisers = find_optimisers(content if isinstance(content, Mapping) else {})
    if not optimisers:
        return None
    parameters = {name: weights[name] for name in parameter_names(weights) if name not in buffers}
    try:
        return _facts(optimisers, parameters)
    except NotLoadableError as error:
        return OptimiserFacts(fits=False, reason=f"the state of the optimiser cannot be read: {error}")


def _facts(optimisers: Sequence[StoredOptimiser], parameters: Mapping[str, Any]) -> OptimiserFacts:
    found: list[_Held] = []
    reasons: list[str] = []
    for stored in optimisers:
        optimiser = read_optimiser(stored, parameters)
        wrong = _damage(stored) or ("the weights are not known" if not parameters else "")
        held = None if wrong else _held(stored, optimiser, parameters)
        if held is not None:
            found.append(held)
        else:
            reasons.append(wrong or _misfit(stored, len(parameters)))
    if not found:
        return OptimiserFacts(kind=read_optimiser(optimisers[0], {}).kind, fits=False, reason=reasons[0])
    missing = frozenset.intersection(*(one.missing for one in found)) if not reasons else frozenset()
    together = len(parameters) - sum(one.held for one in found)
    steps = [step for one in found for step in read_steps(one.stored, one.optimiser.kind, one.names, parameters)]
    counted = [one.optimiser.steps for one in found if one.optimiser.steps is not None]
    return OptimiserFacts(
        kind=found[0].optimiser.kind,
        held=sum(one.held for one in found),
        extra=sum(one.extra for one in found),
        missing=tuple(name for name in parameters if name in missing),
        missing_count=max(together, len(missing), 0) if not reasons else 0,
        untouched=_shown(parameters, _untouched(found, steps)),
        stopped=_shown(parameters, _stopped(steps)),
        behind=_shown(parameters, {name for one in found for name in _behind(one)}),
        decayed=_shown(parameters, {one.name for one in steps if one.matrix and _only_decay(one)}),
        steps=(min(low for low, _ in counted), max(high for _, high in counted)) if counted else None,
        rate_for_adaptive=max((rate for one in found for rate in _sgd_sized(one)), default=None),
        updates=_updates(found, steps),
        silence=_median(one.silence for one in steps if one.matrix),
        decay_share=_median(one.decay_share for one in steps if one.matrix and one.half_life is not None),
        half_life=_median(one.half_life for one in steps if one.matrix),
        decay_left=_median(one.decay_left for one in steps if one.matrix),
    )


def _damage(stored: StoredOptimiser) -> str:
    """What is wrong within the state itself."""
    everyone = [one for ids in stored.ids for one in ids]
    if len(set(everyone)) != len(everyone):
        return "the optimiser lists a parameter twice, so that its state cannot be told apart"
    for entry in islice(stored.state.values(), _MOST_COUNTERS):
        moments = [held for key in ("exp_avg", "exp_avg_sq") if isinstance(held := entry.get(key), StoredTensor)]
        if len({one.shape for one in moments}) > 1:
            return "the two moments of a parameter in the optimiser's state have different shapes"
        count = number(entry.get("step"))
        if count is not None and count < 0:
            return f"the optimiser's state counts {count:g} steps"
    return ""


def _misfit(stored: StoredOptimiser, parameters: int) -> str:
    entries = sum(map(len, stored.ids))
    return (
        f"the optimiser's state does not fit the model: its {entries} entries have shapes that, in their order, are "
        f"not those of the {parameters} parameters; it may be that of another model"
    )


def _held(stored: StoredOptimiser, optimiser: Optimiser, parameters: Mapping[str, Any]) -> _Held | None:
    everyone = [one for ids in stored.ids for one in ids]
    names = list(parameters)
    named: dict[Id, str] = {one: one for one in everyone if isinstance(one, str) and one in parameters}
    known: Mapping[Id, str] = named or names_of(stored, parameters)
    if known:
        absent = frozenset(names) - set(known.values())
        return _Held(
            stored=stored, optimiser=optimiser, names=known, missing=absent, missing_count=len(absent),
            held=len(known), extra=len(everyone) - len(known),
        )  # fmt: skip
    shapes = [tuple(parameters[name].shape) for name in names]
    found: Alignment | None = align([shape_of(stored.state.get(one, {})) for one in everyone], shapes)
    if found is None:
        return None
    return _Held(
        stored=stored,
        optimiser=optimiser,
        names={everyone[index]: names[place] for index, place in found.places.items()},
        missing=frozenset(names[place] for place in found.missing),
        missing_count=found.missing_count,
        held=len(everyone) - found.extra,
        extra=found.extra,
    )


def _untouched(found: Sequence[_Held], steps: Sequence[Step]) -> set[str]:
    """Those without state beside others that have one, and those whose moments are exactly zero."""
    bare = {
        one.names[each]
        for one in found
        if one.optimiser.keeps_state and one.optimiser.with_state
        for each in one.optimiser.without_state
        if each in one.names
    }
    zero = {one.name for one in steps if one.zero}
    return bare | (zero if len(zero) < len(steps) else set())


def _stopped(steps: Sequence[Step]) -> set[str]:
    """Those whose running mean has died away beneath the size of what it is the mean of, and the others' has not.

    Without a second moment (SGD) there is nothing to hold it against but the other parameters' mean. A matrix whose
    gradient is only rounding does not occur in sound networks, but biases do, so that they are left out.
    """
    silences = sorted(one.silence for one in steps if one.silence is not None and not one.zero)
    usual = silences[len(silences) // 2] if silences else 0.0
    found = {one.name for one in steps if one.silence is not None and not one.zero and one.silence < STOPPED * usual}
    alone = [one for one in steps if one.size is None and one.mean is not None and one.matrix and not one.zero]
    means = sorted(one.mean or 0.0 for one in alone)
    usual = means[len(means) // 2] if means else 0.0
    return found | {one.name for one in alone if one.mean is not None and one.mean < STOPPED * usual}


def _behind(one: _Held) -> Iterator[str]:
    counts = {
        each: count
        for each, entry in islice(one.stored.state.items(), _MOST_COUNTERS)
        if (count := number(entry.get("step"))) is not None
    }
    most = max(counts.values(), default=0)
    yield from (one.names[each] for each, count in counts.items() if count < most and each in one.names)


def _shown(parameters: Mapping[str, Any], found: Collection[str]) -> tuple[str, ...]:
    """Names in the order of the model, without biases of modules whose other parameters are not among them.

    Where a layer is normalised, or the loss only looks at differences, a bias has no gradient in sound training.
    """
    inside: dict[str, list[str]] = defaultdict(list)
    for name in parameters:
        inside[name.rpartition(".")[0]].append(name)

    def lonely(name: str) -> bool:
        module, _, own = name.rpartition(".")
        others = [other for other in inside[module] if other != name]
        return "bias" in own and bool(others) and not any(other in found for other in others)

    return tuple(name for name in parameters if name in found and not lonely(name))


def _only_decay(step: Step) -> bool:
    return step.decay_share is not None and step.half_life is not None and step.decay_share > DECAY_ALONE


def _sgd_sized(one: _Held) -> Iterator[float]:
    kind = one.optimiser.kind
    if kind is None or not steps_by_rate(kind):
        return
    rate = _peak(one)
    if rate is not None and rate >= SIZED_FOR_SGD:
        yield rate


def _peak(one: _Held) -> float | None:
    found = [rate for group in one.stored.groups if (rate := peak_rate(group)) is not None]
    return max(found, default=None)


def _updates(found: Sequence[_Held], steps: Sequence[Step]) -> Updates | None:
    moved = sorted(one.step for one in steps if one.matrix and one.step is not None)
    if not moved:
        return None
    peak = max((rate for one in found if (rate := _peak(one)) is not None), default=0.0)
    unit = _median(one.per_rate for one in steps if one.matrix)
    return Updates(
        median=median(moved),
        upper=moved[math.ceil(0.9 * len(moved)) - 1],
        at_peak=max(median(moved), peak * (unit or 0.0)),
        count=len(moved),
    )


def _median(values: Iterator[float | None]) -> float | None:
    known = [one for one in values if one is not None and math.isfinite(one)]
    return median(known) if known else None
