"""Short trainings from fresh weights: that they repeat what is known, and give up with a reason."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from collapsecheck.objectives import stated
from collapsecheck.objectives.trained_head import TrainedHead
from collapsecheck.objectives.with_variance import WithVariance
from collapsecheck.observe import NotObservable
from collapsecheck.observe.probe import Probe
from collapsecheck.observe.rehearsal import Rehearsal
from tests.observe.test_backward import probe_of
from tests.observe.untouched import snapshot


def clouds() -> tuple[Tensor, Tensor]:
    """Four groups of items."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(128) % 4
    return torch.randn(4, 16, generator=generator)[labels] + 0.3 * torch.randn(128, 16, generator=generator), labels


def rehearsal(loss: str = "cross-entropy", seconds: float = 60, **options: Any) -> Rehearsal:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8))
    inputs, labels = clouds()
    return Rehearsal(probe=probe_of(model, inputs, labels), objective=stated(loss), seconds=seconds, **options)


def spread(probe: Probe) -> float:
    return probe.seen.measurements["unit_spread"].value


def test_attraction_collapses_and_a_variance_term_keeps_it_from_that() -> None:
    made = rehearsal("positive-cosine", rate=1e-2)
    assert spread(made.trained()) < 0.2
    assert spread(made.trained(objective=WithVariance(made.objective))) > 0.5


def test_classes_are_learnt_from_fresh_weights() -> None:
    made = rehearsal()
    before = snapshot(made.probe.module)
    trained = made.trained()
    assert snapshot(made.probe.module) == before
    assert trained.seen.measurements["nearest_centre_accuracy"].value > 0.95 and not trained.module.training


def test_it_gives_the_same_again_and_trains_each_only_once() -> None:
    made = rehearsal()
    first = made.trained()
    assert made.trained() is first
    assert (rehearsal().trained().embeddings == first.embeddings).all()


@pytest.mark.parametrize(
    ("kind", "adaptive", "rate"), [(None, True, 1e-3), ("AdamW", True, 1e-3), ("SGD", False, 1e-2)]
)
def test_the_optimiser_is_that_of_the_checkpoint(kind: str | None, adaptive: bool, rate: float) -> None:
    made = rehearsal(kind=kind)
    assert (made.adaptive, made.used_rate) == (adaptive, rate)
    assert math.isfinite(spread(made.trained()))


def test_a_rate_that_throws_it_all_away_ends_early() -> None:
    made = rehearsal("mse", kind="SGD", rate=1e12)
    made.trained()
    assert made.spent < 60


def test_time_is_up() -> None:
    with pytest.raises(NotObservable, match=r"the 0 s of --trial were up after \d+ of 200 steps"):
        rehearsal(seconds=0.0).trained()


def test_views_that_cannot_be_made() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(20, 8)

        def forward(self, ids: Tensor) -> Tensor:
            return self.embedding(ids).mean(1)

    probe = probe_of(Tokens(), torch.randint(0, 20, (64, 5)))
    with pytest.raises(NotObservable, match="two views"):
        Rehearsal(probe=probe, objective=stated("vicreg"), seconds=60).trained()


def test_a_head_that_learns_along() -> None:
    trained = rehearsal().trained(objective=TrainedHead())
    assert trained.seen.measurements["nearest_centre_accuracy"].value > 0.95
