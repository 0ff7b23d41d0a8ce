"""Failed findings × causes: intervene on a copy, ask the same checks again, compare with a sham change."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from collapsecheck import causes
from collapsecheck.causes import Cause, Diagnosis, Intervention, Status, Suspicion
from collapsecheck.checks import Finding, Kind, Level, Outcome
from collapsecheck.checks.repeatable_embeddings import RepeatableEmbeddings
from collapsecheck.discovery import plugins
from collapsecheck.errors import CollapsecheckError
from collapsecheck.examination import examine
from collapsecheck.observe import NotObservable, Observations
from collapsecheck.observe.probe import Probe
from collapsecheck.observe.repeatability import repeatability_of
from collapsecheck.onset import Onset, settled
from collapsecheck.scene import Scene
from collapsecheck.user_code import in_one_line
from collapsecheck.verdict import Status as Health
from collapsecheck.verdict import Verdict, judge

# Experiments per suspicion and suspicions per cause.
MOST_SUSPICIONS = 3
MOST_EXPERIMENTS = 4
# Passes over the whole probe that all experiments together may take; no new one is begun beyond that.
MOST_PASSES = 50.0
# A change helps in part when it makes up for this share of the loss, on a logarithmic scale.
PARTIAL = 0.4
# A cause is confirmed only if its removal makes up for most of the loss, not if it just crosses a threshold.
ENOUGH = 0.6
# A sham does the same if it goes at least half as far: new weights anywhere raise the rank a little.
AS_MUCH = 0.5

# How far an item may move from run to run, over the typical distance between items.
UNMOVED = RepeatableEmbeddings.thresholds["warning"]

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
    if verdict.kind is None and verdict.status is not Health.DEGRADED:
        return tuple(_notes(scene, select, ignore))
    level = Level.ERROR if verdict.status is Health.COLLAPSED else Level.WARNING
    checks = _failing(scene.findings, level)
    symptoms = Symptoms(checks=checks, level=level, health=verdict.status, thresholds=thresholds or {})
    reproduced = _reproduced(scene.confirm, symptoms)
    if verdict.kind is None:
        reproduced = "it is a fault even where the embeddings do not show it"
    elif reproduced and scene.confirm.items < scene.probe.items and not _reproduced(scene.probe, symptoms):
        # A faint symptom needs more items than half of the probe; changes are fitted on the other half all the same.
        scene, reproduced = scene.confirming_on(scene.probe), ""
    suspected: list[tuple[Cause, Suspicion]] = []
    found: list[tuple[Diagnosis, Suspicion]] = []
    for cause_id, kind in all_causes().items():
        if (select and cause_id not in select) or cause_id in ignore:
            continue
        if verdict.kind not in kind.explains and not (verdict.kind is None and kind.symptomless):
            continue
        cause = kind()
        try:
            suspected += [(cause, suspicion) for suspicion in islice(cause.suspect(scene), MOST_SUSPICIONS)]
        except NotObservable:
            continue
        except Exception as error:  # one question that cannot be asked of this model must not cost all the others
            found.append(_unasked(cause, error))
    # The earliest first: they are the better explanations, so what the budget does not reach matters least.
    for cause, suspicion in sorted(suspected, key=lambda one: (one[1].depth, one[1].size)):
        if any(one.cause == cause.id and one.status is Status.CONFIRMED for one, _ in found):
            continue  # deeper ones of the same cause would only follow it
        advance(cause.id)
        spent = "" if scene.probe.passes < MOST_PASSES else f"{MOST_PASSES:.0f} passes over the probe are spent"
        found.append((_tested(cause, scene, suspicion, symptoms, reproduced or spent), suspicion))
    return _ranked(found)


def _notes(scene: Scene, select: Collection[str], ignore: Collection[str]) -> Iterator[Diagnosis]:
    """What is worth knowing where nothing is wrong; no experiment is made."""
    for cause_id, kind in all_causes().items():
        if not kind.noted or (select and cause_id not in select) or cause_id in ignore:
            continue
        cause = kind()
        try:
            for suspicion in islice(cause.suspect(scene), 1):
                yield Diagnosis(
                    cause=cause.id,
                    status=Status.LIKELY,
                    layer=suspicion.layer,
                    evidence=suspicion.evidence,
                    reason="no check fails because of it",
                    expected=True,
                    remedies=tuple(cause.remedies(scene, suspicion)),
                )
        except NotObservable:
            continue
        except Exception as error:  # a question that cannot be asked of this model is no reason to fail a sound one
            yield replace(_unasked(cause, error)[0], expected=True)


def _unasked(cause: Cause, error: Exception) -> tuple[Diagnosis, Suspicion]:
    """What is reported of a cause that could not be looked into."""
    evidence = f"this could not be looked into: {in_one_line(error)}"
    suspicion = Suspicion(layer="", depth=math.inf, evidence=evidence)
    diagnosis = Diagnosis(cause=cause.id, status=Status.UNTESTED, layer="", evidence=evidence, expected=cause.expected)
    return diagnosis, suspicion


def onset_of(scene: Scene, diagnoses: Sequence[Diagnosis]) -> Onset | None:
    """Where it begins: at the layer that an experiment has proven, or else where the depth profile falls."""
    top = diagnoses[0] if diagnoses else None
    proven = top is not None and (top.status is Status.CONFIRMED or (top.status is Status.LIKELY and not top.change))
    if top is not None and top.cause in all_causes() and all_causes()[top.cause].by_training:
        return scene.onset
    if top is None or not proven or (top.expected and top.layer != "input"):
        return scene.onset
    if scene.kind is None:  # the embeddings show nothing, but data that are at fault are where it begins
        at_fault = top.layer == "input" and not top.expected
        return settled(None, "input", scene.path, Kind.COMPLETE) if at_fault else None
    return settled(scene.onset, top.layer, scene.path, scene.kind)


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


def _tested(cause: Cause, scene: Scene, suspicion: Suspicion, symptoms: Symptoms, reproduced: str) -> Diagnosis:
    plain = Diagnosis(
        cause=cause.id,
        status=Status.LIKELY if suspicion.known else Status.UNTESTED,
        layer=suspicion.layer,
        evidence=suspicion.evidence,
        expected=cause.expected,
        reason=reproduced or _untried(cause, scene),
        together=suspicion.together,
        remedies=tuple(cause.remedies(scene, suspicion)),
    )
    if not scene.kind and cause.unrepeatable:
        return _repeated(cause, scene, suspicion, plain)
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
    except Exception as error:  # the changed model may not run, and may fail in any way
        best = replace(best, reason=f"the experiment failed: {in_one_line(error)}")
    if best is not plain and best.status is Status.REFUTED and suspicion.known:
        best = replace(best, status=Status.LIKELY)
    return best


def _untried(cause: Cause, scene: Scene) -> str:
    """Why there is no experiment, and what would make one."""
    if cause.rehearsed and scene.objective is not None and scene.trial <= 0:
        return "only training can decide this: --trial 120 trains fresh copies for up to 120 seconds"
    return "no experiment without training can decide this"


def _repeated(cause: Cause, scene: Scene, suspicion: Suspicion, plain: Diagnosis) -> Diagnosis:
    """Ask again whether an item gets the same embedding each time, with the cause removed."""
    try:
        found = repeatability_of(scene.confirm)
        asked = "again" if found.again > UNMOVED else "elsewhere"  # what is random moves in any company
        before: float = getattr(found, asked)
        for experiment in cause.intervene(scene, suspicion):
            after: float = getattr(repeatability_of(experiment.probe), asked)
            made = replace(
                plain, change=experiment.change, before={"embedding_moves": before}, after={"embedding_moves": after}
            )
            if after <= UNMOVED < before:
                reason = f"the same items get the same embeddings with this change ({experiment.uncontrolled})"
                return replace(made, status=Status.CONFIRMED, reason=reason)
            plain = replace(made, reason="with this change the embeddings still move")
    except Exception as error:  # the changed model may not run, and may fail in any way
        return replace(plain, reason=f"the experiment failed: {in_one_line(error)}")
    return plain


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
    # Whether groups are gone is not a matter of degree; the rank only tells how much better than a sham a change is.
    enough = -math.inf if kind is Kind.CLUSTER else ENOUGH
    restored = symptoms.gone(seen) and share >= enough
    control: Mapping[str, float] = {}
    sham_restores = False
    if experiment.control is not None:
        control = numbers(experiment.control.seen)
        needed = max(enough, AS_MUCH * share)
        sham_restores = symptoms.gone(experiment.control.seen) and _share_restored(kind, before, control) >= needed
    made = replace(plain, change=experiment.change, before=before, after=after, control=control)
    if experiment.repeats and sham_restores:
        reason = f"nothing can be told from training anew: {experiment.sham} did not collapse here"
        status = plain.status if plain.status is Status.LIKELY else Status.UNTESTED
        return replace(made, status=status, reason=reason)
    if restored and sham_restores:
        return replace(made, status=Status.REFUTED, reason=f"a sham does the same: {experiment.sham}")
    if restored and experiment.lesser is not None and symptoms.gone(experiment.lesser.seen):
        return replace(made, status=Status.LIKELY, reason=f"it helps, but less is enough: {experiment.lesser_change}")
    if restored and experiment.treats:
        harmless = symptoms.health is Health.DEGRADED  # what tells items apart is all there
        reason = "this helps whatever the cause is"
        return replace(made, status=Status.LIKELY, reason=reason, treats=True, expected=made.expected or harmless)
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
        Kind.CLUSTER: ("unit_effective_rank", 10.0),
        Kind.NORM: ("norm_median", 1.0),
    }.get(kind or Kind.COMPLETE, ("unit_spread", 0.3))
    if name not in after or not after[name] > 0:
        return 0.0
    if name not in before or not 0 < before[name] < sound:
        return 1.0  # from nothing at all, or from what was no loss by this measure: only the checks can tell
    return math.log(after[name] / before[name]) / math.log(sound / before[name])


def _ranked(found: Sequence[tuple[Diagnosis, Suspicion]]) -> tuple[Diagnosis, ...]:
    """Earliest first, then the smallest change; what else would have been enough is marked."""

    def order(one: tuple[Diagnosis, Suspicion]) -> tuple[int, bool, bool, float, float]:
        diagnosis, suspicion = one
        rank = _ORDER.index(diagnosis.status)
        return rank, diagnosis.expected, diagnosis.treats, suspicion.depth, suspicion.size

    helped = {diagnosis.layer for diagnosis, _ in found if diagnosis.status is Status.CONFIRMED or diagnosis.change}
    data = any(diagnosis.layer == "input" and diagnosis.status is Status.CONFIRMED for diagnosis, _ in found)
    # What an experiment changes at a layer is a consequence where a fact about that layer says why; but data that are
    # proven to be at fault are no consequence of any weights.
    roots = [one for one in found if one[0].status is Status.LIKELY and helped & set(one[1].roots) and not data]
    ordered = [diagnosis for diagnosis, _ in sorted(found, key=lambda one: (one not in roots, *order(one)))]
    confirmed = [one for one in ordered if one.status is Status.CONFIRMED]
    return tuple(
        replace(one, also_sufficient=True) if one.status is Status.CONFIRMED and one is not confirmed[0] else one
        for one in ordered
    )
