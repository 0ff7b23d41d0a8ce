"""A wrong gradient is told for itself, and comes behind whatever an experiment proves."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from torch import nn

from collapsecheck.causes import Status
from collapsecheck.causes.wrong_custom_gradient import WrongCustomGradient
from collapsecheck.diagnosis import diagnose, onset_of
from collapsecheck.examination import examine
from collapsecheck.observe.gradcheck import Gradient, GradientCheck, gradient_checks
from collapsecheck.verdict import judge
from sample_models.own_functions import OwnActivation, Swish, SwishOfWrongTerm

from .conftest import Scanned, convolutional, scanned, trained


def told(net: nn.Sequential) -> Scanned:
    """A scan that has looked at the gradients."""
    scene, _, _ = scanned(net)
    seen = replace(scene.seen, gradient_checks=gradient_checks(scene.probe))
    findings = examine(seen)
    verdict = judge(seen, findings)
    scene = replace(scene, seen=seen, findings=findings, kind=verdict.kind)
    return scene, verdict, diagnose(scene, verdict)


def with_own(function: type[Swish]) -> nn.Sequential:
    net = copy.deepcopy(trained(convolutional))
    net[5] = OwnActivation(function)
    return net


def test_a_sound_model() -> None:
    _, verdict, diagnoses = told(with_own(Swish))
    assert verdict.status == "healthy" and not any(one.status is Status.LIKELY for one in diagnoses)


def test_it_is_told_where_the_embeddings_are_sound() -> None:
    scene, verdict, diagnoses = told(with_own(SwishOfWrongTerm))
    assert (verdict.status, verdict.kind) == ("degraded", None)
    first = diagnoses[0]
    assert (first.cause, first.status, first.layer) == ("wrong-custom-gradient", Status.LIKELY, "5")
    assert "SwishOfWrongTerm in 5" in first.evidence and "finite differences" in first.evidence
    assert "SwishOfWrongTerm.apply" in first.remedies[0].snippet
    assert onset_of(scene, diagnoses) is None


def test_what_is_proven_comes_first() -> None:
    net = with_own(SwishOfWrongTerm)
    net[4].running_var.fill_(1e8)
    net[8].running_var.fill_(1e8)
    _, verdict, diagnoses = told(net)
    assert verdict.status == "collapsed"
    assert diagnoses[0].cause != "wrong-custom-gradient" and diagnoses[0].status is Status.CONFIRMED
    assert any(one.cause == "wrong-custom-gradient" and one.status is Status.LIKELY for one in diagnoses)


def test_alone_it_says_nothing_of_where_a_collapse_begins() -> None:
    net = with_own(SwishOfWrongTerm)
    net[4].running_var.fill_(1e8)
    scene, _, diagnoses = told(net)
    alone = tuple(one for one in diagnoses if one.cause == "wrong-custom-gradient")
    assert alone and onset_of(scene, alone) == scene.onset


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"ratio": -1.0, "argument": "argument 0"}, "argument 0 has the wrong sign"),
        ({"ratio": 2.0, "argument": "argument 1"}, "2 times what it should be"),
        ({"analytic": 0.0, "numerical": 1.0}, "is 0 where it should not be"),
        ({"analytic": 1.0, "numerical": 0.0}, "a mask that is missing"),
        ({"analytic": 1.0, "numerical": 0.3}, "a term that is missing"),
        ({"known_by": "changes-the-gradient"}, "grad_output.clone()"),
        ({"known_by": "state-outside-the-context"}, "ctx.save_for_backward"),
    ],
)
def test_what_to_look_at(values: dict[str, float], words: str) -> None:
    scene, _, _ = scanned(trained(convolutional))
    wrong = GradientCheck(function="Swish", module="5", outcome=Gradient.WRONG, message="is wrong", **values)
    scene.seen.gradient_checks = (wrong,)
    (suspicion,) = WrongCustomGradient().suspect(scene)
    assert words in WrongCustomGradient().remedies(scene, suspicion)[0].title
