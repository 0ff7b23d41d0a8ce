"""The engine: what experiments cost, and what happens when they cannot be made."""

from __future__ import annotations

import copy
import threading
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from collapsecheck import diagnosis
from collapsecheck.causes import Status
from collapsecheck.causes.dead_relu import DeadReLU
from collapsecheck.causes.too_few_samples import TooFewSamples
from collapsecheck.diagnosis import MOST_PASSES, onset_of
from collapsecheck.observe.repeatability import Repeatability
from collapsecheck.verdict import Status as Health

from .causes.conftest import convolutional, digits, perceptron, scanned, trained


def ruined() -> nn.Sequential:
    """A net with something wrong at every layer, so that many causes are suspected."""
    net = copy.deepcopy(trained(convolutional))
    for module in net:
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.fill_(1e8)
            module.weight.data.mul_(1e-4)
            module.bias.data.sub_(5)
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.data.mul_(1e-3).add_(0.01)
            module.bias.data += 30
    return net


def test_experiments_are_bounded() -> None:
    """At most 60 passes over the probe, counted in the model itself."""
    net, items = ruined(), 0

    def count(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal items
        items += len(args[0])

    net.register_forward_pre_hook(count)
    scene, verdict, diagnoses = scanned(net)
    assert verdict.kind is not None and diagnoses
    assert 0 < items <= 60 * scene.probe.items
    assert scene.probe.passes <= MOST_PASSES + 5


def test_what_the_budget_does_not_reach_is_untested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collapsecheck.diagnosis.MOST_PASSES", 0.0)
    _, _, diagnoses = scanned(ruined())
    assert diagnoses and not any(one.status is Status.CONFIRMED for one in diagnoses)
    assert any("are spent" in one.reason for one in diagnoses)


class Locked(nn.Module):
    """Cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.net = copy.deepcopy(trained(perceptron))
        self.net[-1].bias.data.add_(100)
        self.lock = threading.Lock()

    def forward(self, x: Tensor) -> Tensor:
        with self.lock:
            rows: Tensor = self.net(x)
            return rows


def test_a_model_that_cannot_be_copied_is_no_crash() -> None:
    _, verdict, diagnoses = scanned(Locked())
    assert verdict.kind is not None
    assert any("cannot be copied" in one.reason for one in diagnoses)


def test_a_question_that_fails_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: DeadReLU, scene: object) -> None:
        raise RuntimeError("shape '[3]' is invalid")

    monkeypatch.setattr(DeadReLU, "suspect", broken)
    net = copy.deepcopy(trained(perceptron))
    net[-1].bias.data.add_(100 * torch.randn(64))
    _, _, diagnoses = scanned(net)
    assert diagnoses[0].cause == "common-offset" and diagnoses[0].status is Status.CONFIRMED
    failed = next(one for one in diagnoses if one.cause == "dead-relu")
    assert failed.status is Status.UNTESTED and "shape" in failed.evidence


def test_nothing_is_run_again_when_all_is_well() -> None:
    scene, verdict, diagnoses = scanned(trained(perceptron))
    assert verdict.kind is None and not diagnoses
    assert scene.probe.passes <= 2  # the observations and the depth profile of this test


def test_data_at_fault_are_where_it_begins_and_a_note_is_nowhere() -> None:
    net = trained(perceptron)
    images = digits()[0]
    scene, verdict, diagnoses = scanned(net, images[:3].repeat(100, 1, 1, 1))
    assert (verdict.kind, diagnoses[0].cause) == (None, "repeated-inputs")
    onset = onset_of(scene, diagnoses)
    assert onset is not None and onset.layer == "input"
    scene, verdict, diagnoses = scanned(net, images[:40])
    assert (verdict.status, [one.cause for one in diagnoses if one.expected]) == ("healthy", ["too-few-samples"])
    assert onset_of(scene, diagnoses) is None


def test_a_note_that_cannot_be_made_costs_a_sound_model_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: TooFewSamples, scene: object) -> None:
        raise ValueError("an unusual shape")

    monkeypatch.setattr(TooFewSamples, "suspect", fails)
    _, verdict, diagnoses = scanned(trained(perceptron))
    assert verdict.status == "healthy"
    assert [(one.cause, one.status, one.expected) for one in diagnoses] == [("too-few-samples", Status.UNTESTED, True)]


def test_a_model_that_fails_when_it_is_run_again_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(probe: object) -> None:
        raise RuntimeError("gone")

    scene, verdict, _ = scanned(trained(perceptron))
    moving = Repeatability(again=0.5, elsewhere=0.5)
    scene.seen.repeatability = moving
    monkeypatch.setattr(diagnosis, "repeatability_of", fails)
    told = diagnosis.diagnose(scene, replace(verdict, status=Health.DEGRADED))
    found = next(one for one in told if one.cause == "random-inference")
    assert found.status is Status.LIKELY
    assert "gone" in found.reason
