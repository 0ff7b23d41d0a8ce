from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapsecheck import testing
from collapsecheck.checks import Finding, Level, Outcome
from collapsecheck.errors import UsageError
from collapsecheck.exit_codes import ExitCode
from collapsecheck.gate import COMPARISONS, Gate, Met, decide, known_metrics, parse_requirement
from collapsecheck.settings import FAIL_ON, Settings
from collapsecheck.statistics.measurement import Measurement
from collapsecheck.verdict import Status, Verdict

METRICS = {
    "mean_cosine": Measurement(value=0.5, interval=(0.4, 0.6)),
    "rows": Measurement(value=100.0),
    "effective_rank": Measurement(value=math.nan),
}
BROKEN = Finding(check="mean-cosine", outcome=Outcome.ERRORED, level=Level.ERROR, message="the check broke: x")
UNREADABLE = Finding(check="readable-data", outcome=Outcome.FAILED, level=Level.ERROR, message="half is missing")


def gate(
    status: Status = Status.HEALTHY,
    findings: Sequence[Finding] = (),
    metrics: Mapping[str, Measurement] = METRICS,
    **settings: object,
) -> Gate:
    verdict = Verdict(status=status, kind=None, information_kept=None, cosine_usable=None, reason="")
    return decide(verdict, findings, metrics, Settings(**settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(("fail_on", "status"), list(itertools.product(FAIL_ON, Status)))
def test_status_against_fail_on(fail_on: str, status: Status) -> None:
    expected = {
        Status.HEALTHY: ExitCode.PASSED,
        Status.DEGRADED: ExitCode.FAILED if fail_on == "degraded" else ExitCode.PASSED,
        Status.COLLAPSED: ExitCode.PASSED if fail_on == "never" else ExitCode.FAILED,
        Status.INCONCLUSIVE: ExitCode.NOT_MEASURED,
    }[status]
    found = gate(status, fail_on=fail_on)
    assert found.exit_code is expected
    assert found.passed is (expected == 0)
    assert bool(found.reasons) is not found.passed, "a gate never fails without saying why"
    assert found.fail_on == fail_on


# ---- requirements


@pytest.mark.parametrize(
    ("text", "met", "code"),
    [
        ("mean_cosine<0.7", Met.YES, 0),
        ("mean_cosine<=0.6", Met.YES, 0),
        ("mean_cosine<0.6", Met.CLOSE, 0),
        ("mean_cosine<0.55", Met.CLOSE, 0),
        ("mean_cosine>0.55", Met.CLOSE, 0),
        ("mean_cosine<0.4", Met.NO, 1),
        ("mean_cosine>=0.61", Met.NO, 1),
        ("mean-cosine > 0.39", Met.YES, 0),
        ("rows>=100", Met.YES, 0),
        ("rows>100", Met.NO, 1),
        ("rows<=99.5", Met.NO, 1),
        ("effective_rank>=2", Met.UNKNOWN, 4),
        ("neighbour_accuracy>=0.5", Met.UNKNOWN, 4),
        ("rows<inf", Met.YES, 0),
    ],
)
def test_requirements(text: str, met: Met, code: int) -> None:
    found = gate(require=(text,))
    ((requirement, outcome),) = found.requirements
    assert (outcome, found.exit_code) == (met, code)
    assert any(str(requirement) in reason for reason in found.reasons) is (code != 0)


def test_an_unmet_requirement_says_what_was_measured() -> None:
    (reason,) = gate(metrics={"mean_cosine": Measurement(value=0.999876)}, require=("mean_cosine<0.9998",)).reasons
    assert reason == "requirement mean_cosine<0.9998 is not met (mean_cosine is 0.999876)"


def test_requirements_hold_even_where_no_status_fails_the_gate() -> None:
    assert gate(fail_on="never", require=("rows>100",)).exit_code is ExitCode.FAILED


@pytest.mark.parametrize("text", ["", "rows", "rows>=", ">=3", "rows=3", "rows==3", "rows>=x", "rows>=nan", "rows>>3"])
def test_what_a_requirement_must_look_like(text: str) -> None:
    with pytest.raises(UsageError, match="expected METRIC>=NUMBER, such as"):
        parse_requirement(text)


def test_an_unknown_metric_is_a_usage_error_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r"unknown metric 'efective_rank'.*did you mean 'effective_rank'"):
        parse_requirement("efective_rank>=3")


def test_the_numbers_of_a_requirement_are_shown_as_written() -> None:
    for text in ("rows>=100", "mean_cosine<0.9999999", "norm_median>1e-07", "rows<-2.5"):
        assert str(parse_requirement(text)) == text


@given(
    metric=st.sampled_from(sorted(known_metrics())),
    comparison=st.sampled_from(list(COMPARISONS)),
    number=st.floats(allow_nan=False),
    space=st.sampled_from(["", " "]),
)
def test_every_requirement_comes_back(metric: str, comparison: str, number: float, space: str) -> None:
    found = parse_requirement(f"{metric}{space}{comparison}{space}{number!r}")
    assert (found.metric, found.comparison, found.number) == (metric, comparison, number)


@given(st.text(alphabet=st.characters() | st.sampled_from("rows<>=0.-")))
def test_any_other_text_is_a_usage_error_and_nothing_worse(text: str) -> None:
    with contextlib.suppress(UsageError):
        parse_requirement(text)


def test_every_metric_that_is_reported_can_be_required() -> None:
    labels = np.arange(64) % 2
    seen = testing.observed(np.eye(64), inputs=np.eye(64, dtype="float32"), labels=labels)
    assert set(seen.measurements) <= known_metrics()


# ---- what else fails the gate, and which code wins


def test_too_much_unreadable_data_fails_a_healthy_model() -> None:
    found = gate(findings=[UNREADABLE])
    assert (found.exit_code, found.reasons) == (ExitCode.FAILED, ("half is missing",))
    assert gate(findings=[UNREADABLE], fail_on="never").passed


def test_a_broken_check_is_an_internal_error() -> None:
    found = gate(findings=[BROKEN])
    assert found.exit_code is ExitCode.INTERNAL
    assert "mean-cosine broke" in found.reasons[0]


FAULTS = {
    ExitCode.INTERNAL: {"findings": [BROKEN]},
    ExitCode.NOT_MEASURED: {"require": ("effective_rank>=2",)},
    ExitCode.FAILED: {"status": Status.COLLAPSED},
}


@pytest.mark.parametrize(("worse", "other"), list(itertools.combinations(FAULTS, 2)))
def test_the_worst_code_wins_and_all_reasons_are_told(worse: ExitCode, other: ExitCode) -> None:
    found = gate(**{**FAULTS[worse], **FAULTS[other]})  # type: ignore[arg-type]
    assert found.exit_code is worse
    assert len(found.reasons) == 2


def test_every_exit_code_has_a_number_and_a_meaning() -> None:
    assert {int(code) for code in ExitCode} == {0, 1, 2, 3, 4, 5, 130}
    assert all(code.meaning for code in ExitCode)
