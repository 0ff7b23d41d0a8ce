"""What the check says of operations that are not simply right."""

from __future__ import annotations

from typing import Any

import pytest

from collapsecheck import testing
from collapsecheck.checks import Level, Outcome
from collapsecheck.checks.custom_gradients import CustomGradients
from collapsecheck.examination import examine
from collapsecheck.observe.gradcheck import Gradient, GradientCheck
from collapsecheck.verdict import judge


def one(outcome: Gradient, message: str = "", **values: Any) -> GradientCheck:
    return GradientCheck(function="Swish", module="1", outcome=outcome, message=message, **values)


def findings(*checks: GradientCheck):  # type: ignore[no-untyped-def]
    seen = testing.power_law()
    seen.gradient_checks = checks
    return list(CustomGradients().run(seen))


def test_nobody_looked() -> None:
    (found,) = CustomGradients().run(testing.power_law())
    assert found.outcome is Outcome.SKIPPED


def test_there_is_none() -> None:
    (found,) = findings()
    assert found.outcome is Outcome.PASSED and "no custom operation" in found.message


@pytest.mark.parametrize("outcome", [Gradient.RANDOM, Gradient.NOT_DIFFERENTIABLE, Gradient.SKIPPED])
def test_what_could_not_be_checked_never_passes_alone(outcome: Gradient) -> None:
    (found,) = findings(one(outcome, "for this reason"))
    assert found.outcome is Outcome.SKIPPED and "Swish in 1 (for this reason)" in found.message
    (found,) = findings(one(Gradient.RIGHT), one(outcome, "for this reason"))
    assert found.outcome is Outcome.PASSED and "for this reason" in found.message


def test_what_is_meant_passes_with_its_reason() -> None:
    (found,) = findings(one(Gradient.DELIBERATE, "it is straight-through"))
    assert found.outcome is Outcome.PASSED and "it is straight-through" in found.message


def test_a_wrong_one_is_an_error_that_is_no_collapse() -> None:
    seen = testing.wrong_gradients()
    (found,) = (one for one in examine(seen) if one.check == "custom-gradients")
    assert (found.outcome, found.level, found.kind, found.layer) == (Outcome.FAILED, Level.ERROR, None, "1")
    assert found.evidence["argument"] == "argument 0" and found.evidence["analytic"] == -0.5
    verdict = judge(seen, examine(seen))
    assert (verdict.status, verdict.kind) == ("degraded", None)
    assert "Swish in 1" in verdict.reason


def test_a_wrong_one_hides_nothing() -> None:
    found = findings(one(Gradient.WRONG, "its backward fails"), one(Gradient.RANDOM, "for this reason"))
    assert [finding.outcome for finding in found] == [Outcome.FAILED, Outcome.SKIPPED]
    assert "for this reason" in found[1].message
