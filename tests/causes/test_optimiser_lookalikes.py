"""Trainings whose optimiser has something unusual in it and nothing wrong, and what it tells where something is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from collapsecheck.causes import Status
from collapsecheck.checkpoints.optimiser_facts import OptimiserFacts
from collapsecheck.models import load_model
from collapsecheck.models.optimiser import optimiser_of
from sample_models import architectures, excessive_weight_decay, learning_rate_too_high
from sample_models.objectives import Training, checkpoint, handed, right_pairs
from sample_models.sample import Sample
from sample_models.scanning import scanned
from sample_models.working import SCANNED, data, digits, working

Build = Callable[[], nn.Module]
Parameters = list[nn.Parameter]
Make = Callable[[nn.Module, nn.Module], torch.optim.Optimizer]


def everything(encoder: nn.Module, head: nn.Module) -> Parameters:
    return [*encoder.parameters(), *head.parameters()]


def trained(
    build: Build,
    make: Make,
    steps: int = 150,
    rates: Callable[[int], float] | None = None,
    start: nn.Module | None = None,
) -> Sample:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder, head = build() if start is None else start.requires_grad_(requires_grad=True), nn.Linear(64, 10)
        optimiser = make(encoder, head)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, rates) if rates else None
        pictures, classes = (part[SCANNED:] for part in digits())
        for _ in range(steps):
            chosen = torch.randint(len(pictures), (128,))
            optimiser.zero_grad()
            functional.cross_entropy(head(encoder(pictures[chosen])), classes[chosen]).backward()
            optimiser.step()
            if scheduler is not None:
                scheduler.step()
    state: dict[str, Any] = {"model": encoder.state_dict(), "optimizer": optimiser.state_dict(), "step": steps}
    shown, known = data()
    return Sample(build=build, state=state, inputs=shown, labels=known)


def facts(sample: Sample, folder: Any) -> OptimiserFacts:
    torch.save(dict(sample.state), folder / "facts.pt")
    found = optimiser_of(load_model(folder / "facts.pt", model_def=sample.model_def))
    assert found is not None
    return found


class Lamb(torch.optim.Optimizer):
    """You et al. 2020: Adam's step, rescaled by layer to the rate times the weights. Rates are ten times Adam's."""

    def __init__(self, parameters: Any, lr: float) -> None:
        defaults = {"lr": lr, "betas": (0.9, 0.999), "eps": 1e-6, "weight_decay": 0.01, "max_grad_norm": 1.0}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for one in group["params"]:
                state = self.state[one]
                if not state:
                    state.update(step=0, exp_avg=torch.zeros_like(one), exp_avg_sq=torch.zeros_like(one))
                state["step"] += 1
                state["exp_avg"].lerp_(one.grad, 0.1)
                state["exp_avg_sq"].lerp_(one.grad.square(), 0.001)
                start = 1 - 0.999 ** state["step"]
                moved = state["exp_avg"] / (1 - 0.9 ** state["step"]) / ((state["exp_avg_sq"] / start).sqrt() + 1e-6)
                moved += 0.01 * one
                trust = float(one.norm() / moved.norm()) if one.norm() > 0 and moved.norm() > 0 else 1.0
                one.sub_(group["lr"] * trust * moved)


def frozen(encoder: nn.Module, _head: nn.Module) -> torch.optim.Optimizer:
    """A backbone that stays as it is: the optimiser has its last layer alone."""
    last = list(encoder.children())[-1]
    return torch.optim.Adam(last.parameters(), lr=2e-3)


def by_layer(encoder: nn.Module, head: nn.Module) -> torch.optim.Optimizer:
    """A smaller rate for each layer below, from the last one to the first."""
    layers = [head, *reversed([one for one in encoder.children() if list(one.parameters())])]
    groups = [{"params": list(one.parameters()), "lr": 2e-3 * 0.8**i} for i, one in enumerate(layers)]
    return torch.optim.AdamW(groups, weight_decay=0.05)


def warm(step: int) -> float:
    """Warm-up, then down to nothing."""
    return (step + 1) / 15 if step < 15 else max(1 - (step - 15) / 135, 1e-3)


def late(step: int) -> float:
    """A rate that starts too low to see."""
    return 1e-3 if step < 20 else 1.0


HEALTHY: dict[str, tuple[Build, Make, Any]] = {
    "SGD 0.1": (
        architectures.normalised, lambda e, h: torch.optim.SGD(everything(e, h), 0.1, 0.9, weight_decay=5e-4), None
    ),
    "SGD 0.1 residual": (
        architectures.residual, lambda e, h: torch.optim.SGD(everything(e, h), 0.1, 0.9, nesterov=True), warm
    ),
    "Adam 0.01": (architectures.perceptron, lambda e, h: torch.optim.Adam(everything(e, h), lr=0.01), None),
    "Adam 0.03 behind BatchNorm": (
        architectures.normalised, lambda e, h: torch.optim.Adam(everything(e, h), lr=0.03), None
    ),
    "AdamW decay 0.1": (
        architectures.gelu_perceptron,
        lambda e, h: torch.optim.AdamW(everything(e, h), lr=2e-3, weight_decay=0.1), warm,
    ),
    "AdamW decay 1": (
        architectures.normalised, lambda e, h: torch.optim.AdamW(everything(e, h), lr=1e-3, weight_decay=1.0), late
    ),
    "LAMB": (architectures.transformer, lambda e, h: Lamb(everything(e, h), lr=0.02), warm),
    "by layer": (architectures.plain, by_layer, None),
    "biases without effect": (
        architectures.normalised_perceptron, lambda e, h: torch.optim.Adam(everything(e, h), lr=2e-3), None
    ),
}  # fmt: skip


LONG = ("SGD 0.1 residual", "Adam 0.03 behind BatchNorm", "AdamW decay 1")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in HEALTHY]
)
def test_sound_trainings_accuse_nobody(name: str, tmp_path: Any) -> None:
    build, make, rates = HEALTHY[name]
    sample = trained(build, make, rates=rates)
    report = scanned(sample)
    assert report.verdict.status == "healthy"
    assert not [one.cause for one in report.diagnoses if not one.expected]
    found = facts(sample, tmp_path)
    assert found.fits, found.reason
    assert not any((found.missing, found.untouched, found.stopped, found.behind, found.decayed))
    assert found.updates is None or found.updates.at_peak < 0.1
    assert found.decay_share is None or found.decay_share < 0.4


def test_a_frozen_backbone_is_a_fact_and_no_fault(tmp_path: Any) -> None:
    sample = trained(architectures.plain, frozen, start=working(architectures.plain))
    report = scanned(sample)
    assert report.verdict.status == "healthy"
    assert not [one.cause for one in report.diagnoses if not one.expected]
    found = facts(sample, tmp_path)
    assert found.missing == tuple(f"{i}.{own}" for i in (0, 2, 5) for own in ("weight", "bias"))
    assert (found.held, found.extra, found.fits) == (2, 0, True)
    assert not found.untouched and not found.stopped


@pytest.mark.parametrize("build", [architectures.plain, architectures.perceptron])
def test_layers_that_the_optimiser_was_not_given_are_named_if_they_are_random(build: Build) -> None:
    report = scanned(trained(build, frozen))
    first = report.diagnoses[0]
    assert (first.cause, first.status) == ("cut-gradient", Status.LIKELY)
    assert "does not hold" in first.evidence


@pytest.mark.parametrize("build", [architectures.squashed, architectures.plain])
def test_a_rate_that_was_too_high_is_named_with_the_optimiser(build: Build) -> None:
    first = scanned(learning_rate_too_high.broken(build)).diagnoses[0]
    assert (first.cause, first.status) == ("learning-rate-too-high", Status.LIKELY)
    assert "tells of a rate of" in first.evidence


def test_a_rate_out_of_all_range_goes_before_the_objective() -> None:
    training = Training(right_pairs, rate=1.5, adaptive=False)
    report = scanned(handed(architectures.perceptron, checkpoint(architectures.perceptron, 0, training)))
    assert report.verdict.status == "collapsed"
    assert (report.diagnoses[0].cause, report.diagnoses[0].status) == ("learning-rate-too-high", Status.LIKELY)


def test_no_gradient_is_told_where_a_rate_has_killed_it_all() -> None:
    first = scanned(learning_rate_too_high.broken(architectures.plain)).diagnoses[0]
    assert "hardly any gradient comes any more" in first.evidence


def test_the_share_of_decay_is_told() -> None:
    report = scanned(excessive_weight_decay.broken(architectures.plain))
    named = next(one for one in report.diagnoses if one.cause == "excessive-weight-decay")
    assert "of what moved the weights last" in named.evidence


def test_a_decay_that_had_no_time_to_act_is_not_to_blame() -> None:
    """Weights drawn far too small, and one step of AdamW at its usual decay."""
    sample = trained(architectures.perceptron, lambda e, h: torch.optim.AdamW(everything(e, h), lr=1e-5), steps=2)
    state = dict(sample.state)
    state["model"] = {key: one * 1e-3 for key, one in state["model"].items()}
    report = scanned(Sample(build=sample.build, state=state, inputs=sample.inputs, labels=sample.labels))
    assert report.verdict.status != "healthy"
    for one in report.diagnoses:
        assert "the optimiser in the file has a weight decay" not in one.evidence


def test_moments_are_read_only_when_a_cause_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr("collapsecheck.models.optimiser.optimiser_facts", lambda *_, **__: read.append("read"))
    sound = learning_rate_too_high.repaired(architectures.plain)
    assert scanned(sound).verdict.status == "healthy" and not read
    assert scanned(learning_rate_too_high.broken(architectures.plain)).diagnoses and read == ["read"]


def test_state_that_does_not_fit_changes_nothing(tmp_path: Any) -> None:
    sample = learning_rate_too_high.broken(architectures.plain)
    state = dict(sample.state)
    other = nn.Linear(7, 9)
    optimiser = torch.optim.Adam(other.parameters(), lr=0.3)
    other(torch.ones(1, 7)).sum().backward()
    optimiser.step()
    state["optimizer"] = optimiser.state_dict()
    changed = Sample(build=sample.build, state=state, inputs=sample.inputs, labels=sample.labels)
    assert not facts(changed, tmp_path).fits
    report = scanned(changed)
    assert report.diagnoses[0].cause == "learning-rate-too-high"
    assert "moments" not in report.diagnoses[0].evidence
