"""What a scan said of a model whose truth is known, and sums of that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from collapsecheck.causes import Cause, Status
from collapsecheck.diagnosis import all_causes
from collapsecheck.reports import Report

ACCUSING = (Status.CONFIRMED, Status.LIKELY)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One scan.

    `group` is "broken", "repaired" or "sound"; `cause` the planted one, "" where there is none; `named` the cause on
    top, "" for none, and `status` how sure it is; `onset` where the scan says that it begins; `right_place` is None
    where the fault has no single place. `accused` are all causes that the report holds for confirmed or likely, except
    conditions that are expected.
    """

    group: str
    cause: str
    model: str
    seed: int
    health: str
    named: str
    status: str
    layer: str
    onset: str
    right_place: bool | None
    accused: tuple[str, ...]
    seconds: float

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What tells it from other outcomes."""
        return self.group, self.cause, self.model, self.seed

    @property
    def right_cause(self) -> bool:
        """Whether the planted cause is on top, as confirmed or likely."""
        return self.named == self.cause and self.status in ACCUSING

    @property
    def confirmed(self) -> bool:
        """Whether an experiment proved the planted cause."""
        return self.right_cause and self.status == Status.CONFIRMED

    @property
    def wrong(self) -> bool:
        """Whether it belongs in the list of what went wrong."""
        if self.group == "broken":
            return not self.right_cause or self.right_place is False
        return bool(self.accused)


def outcome(
    report: Report,
    *,
    group: str,
    cause: str,
    model: str,
    seed: int,
    places: Collection[str] = (),
    seconds: float,
) -> Outcome:
    """Compare a report with the truth; `places` are the keys at which the onset may be."""
    top = report.diagnoses[0] if report.diagnoses else None
    onset = report.onset.layer if report.onset is not None else top.layer if top is not None else ""
    return Outcome(
        group=group,
        cause=cause,
        model=model,
        seed=seed,
        health=report.verdict.status + (f" ({report.verdict.kind})" if report.verdict.kind else ""),
        named=top.cause if top is not None else "",
        status=str(top.status) if top is not None else "",
        layer=top.layer if top is not None else "",
        onset=onset,
        right_place=onset in places if places else None,
        accused=tuple(one.cause for one in report.diagnoses if one.status in ACCUSING and not one.expected),
        seconds=round(seconds, 2),
    )


def share(outcomes: Sequence[Outcome], what: str) -> str:
    """How many of them, of those to which it applies."""
    known = [getattr(one, what) for one in outcomes if getattr(one, what) is not None]
    return f"{sum(known)} of {len(known)} ({sum(known) / len(known):.1%})" if known else "-"


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown: per cause, in total, and everything that went wrong."""
    broken = [one for one in outcomes if one.group == "broken"]
    lines = [
        "| cause | models | cause on top | onset right | confirmed | took for | false causes when repaired |",
        "|---|---|---|---|---|---|---|",
    ]
    causes = sorted({one.cause for one in outcomes} - {""})
    lines += [_row(cause, [one for one in outcomes if one.cause == cause]) for cause in causes]
    if broken:
        planted = [one for one in outcomes if one.group != "sound"]
        lines.append(_row("**all**", planted))
        decided = [one for one in planted if can_be_tested(one.cause)]
        lines.append(_row("**those that an experiment can decide**", decided))
    sound = [one for one in outcomes if one.group == "sound"]
    if sound:
        lines += ["", f"Sound models: {len(sound)}; falsely accused: {sum(one.wrong for one in sound)}."]
    wrong = [one for one in outcomes if one.wrong]
    lines += ["", "What went wrong:" if wrong else "Nothing went wrong.", ""]
    lines += [f"- {described(one)}" for one in wrong]
    return "\n".join(lines) + "\n"


def can_be_tested(cause: str) -> bool:
    """Whether a cause makes experiments without training; what lies in that, or is a fact of the file, has none."""
    kind = all_causes()[cause]
    return kind.intervene is not Cause.intervene and not kind.rehearsed


def described(one: Outcome) -> str:
    """One line."""
    said = f"{one.named} ({one.status}) at {one.layer or 'no layer'}" if one.named else "no cause"
    others = f"; accused: {', '.join(one.accused)}" if one.accused and one.group != "broken" else ""
    model = f"{one.group} {one.cause or 'model'} / {one.model} / {one.seed}"
    return f"{model}: {one.health}, {said}, onset {one.onset or 'nowhere'}{others}"


def _row(name: str, outcomes: Sequence[Outcome]) -> str:
    broken = [one for one in outcomes if one.group == "broken"]
    repaired = [one for one in outcomes if one.group == "repaired"]
    others = Counter(one.named or "nothing" for one in broken if not one.right_cause)
    mistaken = ", ".join(f"{cause} {count}" for cause, count in others.most_common()) or "-"
    return (
        f"| {name} | {len(broken)} | {share(broken, 'right_cause')} | {share(broken, 'right_place')} | "
        f"{share(broken, 'confirmed')} | {mistaken} | {sum(one.wrong for one in repaired)} of {len(repaired)} |"
    )
