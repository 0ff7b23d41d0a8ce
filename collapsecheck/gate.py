"""Verdict and requirements -> exit code. Decided once, before any report is rendered."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from collapsecheck.checks import Finding, Level, Outcome
from collapsecheck.errors import UsageError, did_you_mean
from collapsecheck.exit_codes import ExitCode
from collapsecheck.settings import Settings
from collapsecheck.statistics.measurement import Measurement
from collapsecheck.verdict import Status, Verdict

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


class Met(StrEnum):
    """What became of a requirement."""

    YES = "met"
    NO = "not met"
    CLOSE = "too close to call"  # the interval reaches across the number: does not fail the gate
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """`metric >= number`, as the user wrote it."""

    metric: str
    comparison: str
    number: float

    def __str__(self) -> str:
        return f"{self.metric}{self.comparison}{self.number:.12g}"

    def met(self, measurement: Measurement | None) -> Met:
        """Fails only when the whole interval is on the wrong side."""
        if measurement is None or not measurement.known:
            return Met.UNKNOWN
        compare = COMPARISONS[self.comparison]
        answers = {compare(bound, self.number) for bound in (measurement.low, measurement.value, measurement.high)}
        if len(answers) > 1:
            return Met.CLOSE
        return Met.YES if answers == {True} else Met.NO


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The outcome: whether CI may go on, the exit code, and why."""

    exit_code: ExitCode
    reasons: tuple[str, ...]
    requirements: tuple[tuple[Requirement, Met], ...]
    fail_on: str

    @property
    def passed(self) -> bool:
        """Whether the exit code is 0."""
        return self.exit_code is ExitCode.PASSED


def parse_requirement(text: str) -> Requirement:
    """`effective_rank>=32` -> Requirement; unknown metrics are a usage error with a suggestion."""
    match = re.fullmatch(r"\s*([\w-]+)\s*(>=|<=|>|<)\s*([-+\w.]+)\s*", text)
    try:
        if match is None:
            raise ValueError
        metric, comparison, number = match[1].replace("-", "_"), match[2], float(match[3])
        if math.isnan(number):
            raise ValueError
    except ValueError:
        raise UsageError(f'expected METRIC>=NUMBER, such as "effective_rank>=32", not {text!r}') from None
    if metric not in known_metrics():
        raise UsageError(f"unknown metric {metric!r} in a requirement{did_you_mean(metric, known_metrics())}")
    return Requirement(metric=metric, comparison=comparison, number=number)


@cache
def known_metrics() -> frozenset[str]:
    """Names of all metrics: those of a small example for which every one of them is defined."""
    from collapsecheck import testing

    return frozenset(testing.classified(n=64, d=4, classes=2).measurements)


def decide(
    verdict: Verdict, findings: Sequence[Finding], metrics: Mapping[str, Measurement], settings: Settings
) -> Gate:
    """Apply `--fail-on` and every `--require`. An incomplete scan never passes.

    Internal errors (5) come before too little measured (4), and that before a failed gate (1).
    """
    requirements = tuple(
        (requirement, requirement.met(metrics.get(requirement.metric)))
        for requirement in map(parse_requirement, settings.require)
    )
    reasons: list[tuple[ExitCode, str]] = [
        (ExitCode.INTERNAL, f"the check {finding.check} broke: {finding.message}")
        for finding in findings
        if finding.outcome is Outcome.ERRORED
    ]
    if verdict.status is Status.INCONCLUSIVE:
        reasons.append((ExitCode.NOT_MEASURED, "too little could be measured"))
    failing = {"collapsed": (Status.COLLAPSED,), "degraded": (Status.COLLAPSED, Status.DEGRADED), "never": ()}
    if verdict.status in failing[settings.fail_on]:
        reasons.append((ExitCode.FAILED, f"the embeddings are {verdict.status} (--fail-on {settings.fail_on})"))
    if settings.fail_on != "never":
        reasons += [
            (ExitCode.FAILED, finding.message)
            for finding in findings
            if finding.check == "readable-data" and finding.outcome is Outcome.FAILED and finding.level is Level.ERROR
        ]
    for requirement, met in requirements:
        if met in (Met.NO, Met.UNKNOWN):
            code = ExitCode.FAILED if met is Met.NO else ExitCode.NOT_MEASURED
            measured = metrics.get(requirement.metric)
            value = f" ({requirement.metric} is {measured.value:.6g})" if measured and measured.known else ""
            reasons.append((code, f"requirement {requirement} is {met}{value}"))
    order = (ExitCode.INTERNAL, ExitCode.NOT_MEASURED, ExitCode.FAILED)
    codes = {code for code, _ in reasons}
    return Gate(
        exit_code=next((code for code in order if code in codes), ExitCode.PASSED),
        reasons=tuple(reason for _, reason in reasons),
        requirements=requirements,
        fail_on=settings.fail_on,
    )
