"""Findings -> one status, one kind, and two answers kept apart: is information lost, is raw cosine usable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from collapsecheck.checks import Finding, Kind, Level, Outcome
from collapsecheck.observe import Observations

# Below this share of its null a rank says that little structure is left under the common direction.
LITTLE_STRUCTURE = 0.05
# With fewer rows than this only exact facts count.
FEW_ROWS = 16
# Without these checks a healthy verdict would claim what nobody looked at.
NEEDED = {"distinct-embeddings", "relative-spread"}


class Status(StrEnum):
    """What the embeddings are worth as they stand."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"  # items are told apart, but raw cosine is unusable or something warns
    COLLAPSED = "collapsed"  # items are no longer told apart: spread, rank, rows or norms are gone
    INCONCLUSIVE = "inconclusive"  # too little could be measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer.

    Attributes
    ----------
    information_kept : False when differences between items are destroyed, True when they are intact or merely
        drowned by a common offset, None when that cannot be told.
    cosine_usable : whether cosine similarity of the embeddings as they are tells items apart.
    reason : one or two sentences in words a newcomer understands.
    borderline : ids of the checks whose value is too close to a threshold to call.
    """

    status: Status
    kind: Kind | None
    information_kept: bool | None
    cosine_usable: bool | None
    reason: str
    borderline: tuple[str, ...] = ()


def judge(seen: Observations, findings: Sequence[Finding]) -> Verdict:
    """Ask the questions in the order of `Kind`; the first hit is the headline.

    With fewer than 16 rows only exact facts (NaN or Inf, zero rows, equal rows) make a verdict.
    """
    failed = [finding for finding in findings if finding.outcome is Outcome.FAILED]
    errors = [finding for finding in failed if finding.kind and finding.level is Level.ERROR]
    if seen.rows < FEW_ROWS:
        errors = [finding for finding in errors if _exact(finding)]
    borderline = tuple(sorted({finding.check for finding in findings if finding.borderline}))
    if errors:
        headline = min(errors, key=_order)
        return Verdict(
            status=Status.COLLAPSED,
            kind=headline.kind,
            information_kept=_information_kept(seen, headline),
            cosine_usable=False,
            reason=_with_data(_collapsed_reason(seen, headline), findings),
            borderline=tuple(sorted({finding.check for finding in errors if finding.borderline})),
        )
    if seen.rows < FEW_ROWS or seen.dimension < 2:
        s = "" if seen.rows == 1 else "s"
        reason = (
            f"Only {seen.rows} usable embedding{s}: at least {FEW_ROWS} are needed to tell collapse from chance."
            if seen.rows < FEW_ROWS
            else "The embeddings have a single dimension, where every cosine similarity is 1 or -1."
        )
        return Verdict(status=Status.INCONCLUSIVE, kind=None, information_kept=None, cosine_usable=None, reason=reason)
    made = {finding.check for finding in findings if finding.outcome in (Outcome.PASSED, Outcome.FAILED)}
    if not made:
        reason = "Not a single check could be made."
        return Verdict(status=Status.INCONCLUSIVE, kind=None, information_kept=None, cosine_usable=None, reason=reason)
    warnings = [f for f in failed if f.level is not Level.NOTE and f.check != "too-few-samples"]
    if warnings:
        headline = min(warnings, key=_order)
        return Verdict(
            status=Status.DEGRADED,
            kind=headline.kind,
            information_kept=True,
            cosine_usable=all(f.kind is not Kind.CONE for f in warnings),
            reason=_with_data(_degraded_reason(headline), findings),
            borderline=borderline,
        )
    reason = "Different inputs get clearly different embeddings."
    notes = {finding.check for finding in failed}
    if not made >= NEEDED:
        reason = "The checks that were made found no fault."
    elif "class-structure" in notes and seen.separates_classes:
        reason = (
            "Different classes get clearly different embeddings; within a class they are much alike, "
            "as is usual for a trained classifier."
        )
    if "mean-cosine" in notes:
        reason += " Cosines are high for all pairs, which is usual for features of one sign: compare ranks, not levels."
    return Verdict(
        status=Status.HEALTHY,
        kind=None,
        information_kept=True if made >= NEEDED else None,
        cosine_usable=True if "mean-cosine" in made else None,
        reason=reason,
        borderline=borderline,
    )


def _order(finding: Finding) -> int:
    return list(Kind).index(finding.kind) if finding.kind else len(Kind)


def _exact(finding: Finding) -> bool:
    return finding.kind in (Kind.NON_FINITE, Kind.NORM) or bool(finding.evidence.get("numerically_constant"))


def _information_kept(seen: Observations, headline: Finding) -> bool | None:
    """Whether anything but rounding is left under the symptom."""
    if headline.kind is Kind.NON_FINITE:
        return None
    if headline.kind in (Kind.CLUSTER, Kind.DIMENSIONAL):
        return False
    if seen.unit.n < FEW_ROWS:
        return False
    if seen.measurements["unit_spread"].value <= 3 * seen.rounding_floor:
        return False
    accuracy = seen.measurements.get("neighbour_accuracy")
    if accuracy is not None and accuracy.known and accuracy.low > 1.5 * (accuracy.null or 1):
        return True
    rank = seen.measurements["unit_effective_rank"]
    return bool(rank.known and rank.share > LITTLE_STRUCTURE)


def _collapsed_reason(seen: Observations, headline: Finding) -> str:
    match headline.kind:
        case Kind.NON_FINITE:
            return f"{headline.message[0].upper()}{headline.message[1:]}; nothing can be compared with those."
        case Kind.NORM:
            return f"{headline.message[0].upper()}{headline.message[1:]}: there is no length left to compare."
        case Kind.COMPLETE:
            cosine = seen.measurements.get("mean_cosine")
            shown = (
                f": cosine similarity is {cosine.value:.4f} on average over all pairs"
                if cosine and cosine.known
                else ""
            )
            return f"Every input gets practically the same embedding{shown}."
        case Kind.CLUSTER:
            return f"Different inputs share the very same embedding: {headline.message}."
        case _:
            return (
                f"The embeddings differ in {headline.value:.1f} directions only, out of {seen.dimension} dimensions: "
                "most of what tells items apart is gone."
            )


def _degraded_reason(headline: Finding) -> str:
    match headline.kind:
        case Kind.CONE:
            return (
                "All embeddings share one strong common direction, so raw cosine similarity is nearly the same for "
                "every pair. The differences are still there: subtract the mean embedding before comparing."
            )
        case Kind.DIMENSIONAL:
            return f"Items are told apart, but in few directions: {headline.message}."
        case Kind.CLUSTER:
            told = (
                "Some items are not told apart"
                if headline.check == "distinct-embeddings"
                else "Items are told apart by group only"
            )
            return f"{told}: {headline.message}."
        case _:
            return f"{headline.message[0].upper()}{headline.message[1:]}."


def _with_data(reason: str, findings: Sequence[Finding]) -> str:
    """Point at the data first when they are the likelier culprit."""
    for finding in findings:
        if finding.check == "distinct-inputs" and (finding.value or 0) > 0.5:
            return f"{reason} Look at the data first: only {finding.message}."
    return reason
