"""Failed findings × causes: intervene on a copy, ask the same checks again, compare with a sham change."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from collapsecheck import causes
from collapsecheck.causes import Cause, Diagnosis, Intervention, Status, Suspicion
from collapsecheck.checks import Finding, Kind, Level, Outcome
from collapsecheck.discovery import plugins
from collapsecheck.errors import CollapsecheckError
from collapsecheck.examination import examine
from collapsecheck.observe import NotObservable, Observations
from collapsecheck.observe.probe import Probe
from collapsecheck.scene import Scene
from collapsecheck.verdict import Status as Health
from collapsecheck.verdict import Verdict, judge

# Experiments per suspicion and suspicions per cause: keeps the number of forward passes bounded.
MOST_SUSPICIONS = 3
MOST_EXPERIMENTS = 4
# A change helps in part when it makes up for this share of the loss, on a logarithmic scale.
PARTIAL = 0.4
# A cause is confirmed only if its removal makes up for most of the loss, not if it just crosses a threshold.
ENOUGH = 0.6
# A symptom that stays as it is changes by less than this share of the loss.
UNCHANGED = 0.3

_SHOWN = ("unit_spread", "mean_cosine", "unit_effective_rank", "norm_median")
_ORDER = (Status.CONFIRMED, Status.LIKELY, Status.UNTESTED, Status.REFUTED)


def all_causes() -> dict[str, type[Cause]]:
    """Every cause by id."""
    return plugins(causes, Cause)


@dataclass(frozen=True, kw_only=True)
class Symptoms:
    """What is asked again after each change: the checks that failed, at the level at which they did."""

    checks: frozenset[str]
    level: Level
    health: Health
    thresholds: Mapping[str, Mapping[str, float]]

    def of(self, seen: Observations) -> tuple[Verdict, frozenset[str]]:
        """The verdict on other observations, and those of the checks that fail there as badly."""
        findings = examine(seen, thresholds=self.thresholds)
        return judge(seen, findings), _failing(findings, self.level) & self.checks

    def gone(self, seen: Observations) -> bool:
        """Whether not one of them is left, and nothing as bad has taken their place."""
        verdict, left = self.of(seen)
        worse = {Health.COLLAPSED} if self.health is Health.COLLAPSED else {Health.COLLAPSED, Health.DEGRADED}
        return not left and verdict.status not in worse | {Health.INCONCLUSIVE}


def diagnose(
    scene: Scene,
    verdict: Verdict,
    *,
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
    select: Collection[str] = (),
    ignore: Collection[str] = (),
    advance: Callable[[str], None] = lambda cause: None,
) -> tuple[Diagnosis, ...]:
    """Try every cause that could explain the verdict; the best explanation comes first.

    Parameters
    ----------
    select, ignore : ids of causes.
    advance : called with the id of each cause before it is tried.
    """
    if verdict.kind is None:
        return tuple(_notes(scene, select, ignore))
    level = Level.ERROR if verdict.status is Health.COLLAPSED else Level.WARNING
    checks = _failing(scene.findings, level)
    symptoms = Symptoms(checks=checks, level=level, health=verdict.status, thresholds=thresholds or {})
    reproduced = _reproduced(scene.confirm, symptoms)
    found: list[tuple[Diagnosis, Suspicion]] = []
    for cause_id, cause in all_causes().items():
        if (select and cause_id not in select) or cause_id in ignore or verdict.kind not in cause.explains:
            continue
        advance(cause_id)
        found += _tried(cause(), scene, symptoms, reproduced)
    return _ranked(found)


def _notes(scene: Scene, select: Collection[str], ignore: Collection[str]) -> Iterator[Diagnosis]:
    """What is worth knowing where no check failed; no experiment is made."""
    for cause_id, cause in all_causes().items():
        if not cause.expected or (select and cause_id not in select) or cause_id in ignore:
            continue
        try:
            known = [suspicion for suspicion in cause().suspect(scene) if suspicion.known]
        except NotObservable:
            continue
        yield from (_plain(cause(), scene, suspicion, "no check fails because of it") for suspicion in known[:1])


def _failing(findings: Sequence[Finding], level: Level) -> frozenset[str]:
    levels = {Level.ERROR} if level is Level.ERROR else {Level.ERROR, Level.WARNING}
    return frozenset(
        one.check for one in findings if one.outcome is Outcome.FAILED and one.level in levels and one.kind is not None
    )


def _reproduced(probe: Probe, symptoms: Symptoms) -> str:
    """Return "" when the symptom shows on the probe as well, else the reason why nothing can be tested."""
    try:
        verdict, left = symptoms.of(probe.seen)
    except CollapsecheckError as error:
        return f"the model could not be run again: {error}"
    if not left:
        return f"on a sample of {probe.items} items the symptom does not show ({verdict.status.value})"
    return ""


def _tried(cause: Cause, scene: Scene, symptoms: Symptoms, reproduced: str) -> Iterator[tuple[Diagnosis, Suspicion]]:
    try:
        suspicions = list(cause.suspect(scene))[:MOST_SUSPICIONS]
    except NotObservable:
        return
    for suspicion in suspicions:
        diagnosis = _tested(cause, scene, suspicion, symptoms, reproduced)
        yield diagnosis, suspicion
        if diagnosis.status is Status.CONFIRMED:
            break  # deeper ones of the same cause would only follow it


def _tested(cause: Cause, scene: Scene, suspicion: Suspicion, symptoms: Symptoms, reproduced: str) -> Diagnosis:
    plain = _plain(cause, scene, suspicion, reproduced or "no experiment without training can decide this")
    if reproduced:
        return plain
    best = plain
    before = numbers(scene.confirm.seen)
    try:
        for count, experiment in enumerate(cause.intervene(scene, suspicion)):
            if count == MOST_EXPERIMENTS:
                break
            result = _experimented(plain, experiment, symptoms, before, scene.kind)
            if best is plain or _ORDER.index(result.status) < _ORDER.index(best.status):
                best = result
            if best.status is Status.CONFIRMED:
                break
    except (CollapsecheckError, NotObservable) as error:  # the changed model may not run
        best = replace(best, reason=f"the experiment failed: {error}")
    if best is not plain and best.status is Status.REFUTED and suspicion.known:
        best = replace(best, status=Status.LIKELY)
    return best


def _plain(cause: Cause, scene: Scene, suspicion: Suspicion, reason: str) -> Diagnosis:
    """What is known before any experiment."""
    return Diagnosis(
        cause=cause.id,
        status=Status.LIKELY if suspicion.known else Status.UNTESTED,
        layer=suspicion.layer,
        evidence=suspicion.evidence,
        expected=cause.expected,
        reason=reason,
        remedies=tuple(cause.remedies(scene, suspicion)),
    )


def _experimented(
    plain: Diagnosis,
    experiment: Intervention,
    symptoms: Symptoms,
    before: Mapping[str, float],
    kind: Kind | None,
) -> Diagnosis:
    seen = experiment.probe.seen
    after = numbers(seen)
    share = _share_restored(kind, before, after)
    if experiment.isolates:
        made = replace(plain, change=experiment.change, before=before, after=after)
        if not symptoms.gone(seen) and abs(share) < UNCHANGED:
            reason = f"the symptom stays as it is ({experiment.uncontrolled})"
            return replace(made, status=Status.CONFIRMED, reason=reason)
        return replace(made, status=Status.REFUTED, reason="the symptom changes, so there is more to it")
    restored = symptoms.gone(seen) and share >= ENOUGH
    control: Mapping[str, float] = {}
    sham_restores = False
    if experiment.control is not None:
        control = numbers(experiment.control.seen)
        sham_restores = symptoms.gone(experiment.control.seen) and _share_restored(kind, before, control) >= ENOUGH
    made = replace(plain, change=experiment.change, before=before, after=after, control=control)
    if restored and sham_restores:
        return replace(made, status=Status.REFUTED, reason=f"a sham does the same: {experiment.sham}")
    if restored and experiment.treats:
        return replace(made, status=Status.LIKELY, reason="this helps whatever the cause is")
    if restored and experiment.control is None and not experiment.uncontrolled:
        return replace(made, status=Status.LIKELY, reason="there is nothing to compare with")
    if restored:
        against = f"; {experiment.sham} leaves it" if experiment.sham else f" ({experiment.uncontrolled})"
        return replace(made, status=Status.CONFIRMED, reason=f"the symptom goes with this change{against}")
    if share > PARTIAL + max(_share_restored(kind, before, control), 0.0):
        return replace(made, status=Status.LIKELY, reason="the change helps, but in part only")
    return replace(made, status=Status.REFUTED, reason="the symptom stays although the change was made")


def numbers(seen: Observations) -> dict[str, float]:
    """The few metrics that are shown around an experiment."""
    found = seen.measurements
    return {name: found[name].value for name in _SHOWN if name in found and math.isfinite(found[name].value)}


def _share_restored(kind: Kind | None, before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """How much of the way to a sound value a change goes, on a logarithmic scale; may be negative."""
    name, sound = {
        Kind.DIMENSIONAL: ("unit_effective_rank", 10.0),
        Kind.NORM: ("norm_median", 1.0),
    }.get(kind or Kind.COMPLETE, ("unit_spread", 0.3))
    if name not in after or not after[name] > 0:
        return 0.0
    if name not in before or not 0 < before[name] < sound:
        return 1.0  # from nothing at all, or from what was no loss by this measure: only the checks can tell
    return math.log(after[name] / before[name]) / math.log(sound / before[name])


def _ranked(found: Sequence[tuple[Diagnosis, Suspicion]]) -> tuple[Diagnosis, ...]:
    """Earliest first, then the smallest change; what else would have been enough is marked."""

    def order(one: tuple[Diagnosis, Suspicion]) -> tuple[int, bool, float, float]:
        diagnosis, suspicion = one
        return _ORDER.index(diagnosis.status), diagnosis.expected, suspicion.depth, suspicion.size

    ordered = [diagnosis for diagnosis, _ in sorted(found, key=order)]
    confirmed = [one for one in ordered if one.status is Status.CONFIRMED]
    return tuple(
        replace(one, also_sufficient=True) if one.status is Status.CONFIRMED and one is not confirmed[0] else one
        for one in ordered
    )
