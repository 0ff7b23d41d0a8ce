"""Where losses lead from known embeddings: apart, together, or nowhere; and that nothing is touched."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from collapsecheck.objectives import stated
from collapsecheck.observe import NotObservable
from collapsecheck.observe.objective_facts import ObjectiveFacts, log_spread, objective_facts, violated
from tests.observe.test_backward import probe_of
from tests.observe.untouched import snapshot

LABELS = torch.arange(256) % 8


def facts(loss: str, rows: Tensor, labels: Tensor | None = LABELS) -> ObjectiveFacts:
    """Of a linear layer that is the identity, so that its inputs are the embeddings."""
    model = nn.Linear(16, 16)
    with torch.no_grad():
        model.weight.copy_(torch.eye(16))
        model.bias.zero_()
    return objective_facts(probe_of(model, rows, labels), stated(loss))


def cloud(offset: float = 0.0, classes: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    centres = classes * torch.randn(8, 16, generator=generator)
    return torch.randn(256, 16, generator=generator) + centres[LABELS] + offset


def test_the_derivative_of_the_spread_against_differences() -> None:
    rows = cloud(offset=2.0).double().requires_grad_()
    (gradient,) = torch.autograd.grad(log_spread(rows), rows)
    towards = torch.randn(rows.shape, dtype=torch.float64)
    step = 1e-6
    with torch.no_grad():
        wanted = (log_spread(rows + step * towards) - log_spread(rows - step * towards)) / (2 * step)
    assert float((gradient * towards).sum()) == pytest.approx(float(wanted), rel=1e-5)


def test_what_log_spread_is() -> None:
    rows = cloud(offset=3.0).double()
    around, whole = rows - rows.mean(0), rows
    assert math.exp(float(log_spread(rows))) == pytest.approx(float(around.norm() / whole.norm()))


@pytest.mark.parametrize(("loss", "parts"), [("triplet", True), ("contrastive", True), ("batch-hard-triplet", False)])
def test_from_a_small_cloud_all_triplets_part_and_the_hardest_draw_together(loss: str, parts: bool) -> None:
    found = facts(loss, 1e-3 * cloud(classes=0.5) + 1)
    low, high = found.interval
    assert (low > 0) if parts else (high < 0)
    assert (found.through > 0) is parts and (found.change > 0) is parts
    assert found.violated == 1 and found.here == pytest.approx(found.landmarks.one_point, rel=0.05)


def test_a_step_does_what_is_foretold() -> None:
    """One step along the gradient that changes the weights by 0.1 % changes the spread as `change` says."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 8)).eval()
    inputs, objective = cloud(classes=1.0)[:32], stated("triplet")
    found = objective_facts(probe_of(model, inputs, LABELS[:32]), objective)
    before = float(log_spread(model(inputs).double()).detach())
    objective(model(inputs).double(), LABELS[:32]).backward()
    size = math.sqrt(sum(float(one.detach().square().sum()) for one in model.parameters()))
    length = math.sqrt(sum(float(one.grad.square().sum()) for one in model.parameters() if one.grad is not None))
    with torch.no_grad():
        for one in model.parameters():
            assert one.grad is not None
            one.sub_(1e-3 * size / length * one.grad)
    after = float(log_spread(model(inputs).double()).detach())
    assert found.change == pytest.approx(after - before, rel=0.05)


def test_a_loss_of_cosines_asks_for_nothing_where_all_are_one() -> None:
    here, apart = (facts("cosine-bce", rows) for rows in (1e-4 * cloud() + 1, cloud()))
    assert here.force < 1e-3 and 0.5 < apart.force < 2
    assert here.held_by_place * here.held_by_bound < 1e-4
    assert math.isnan(facts("triplet", cloud()).held_by_bound)


def test_attraction_draws_together() -> None:
    found = facts("positive-cosine", cloud(offset=1.0), None)
    assert found.interval[1] < 0 and found.landmarks.attracted and found.classes is None


def test_one_point_exactly_leads_nowhere() -> None:
    found = facts("triplet", torch.ones(256, 16))
    assert math.isnan(found.alignment) and "one point exactly" in found.reasons["alignment"]


def test_margins() -> None:
    objective = stated("contrastive", margin=1.0)
    rows = torch.tensor([[0.0], [0.1], [0.5], [3.0]], dtype=torch.float64)
    # Different pairs: (0, 2), (0, 3), (1, 2), (1, 3), of which two are nearer than 1.
    assert violated(objective, rows, torch.tensor([0, 0, 1, 1])) == 0.5
    assert math.isnan(violated(stated("sup-con"), rows, torch.tensor([0, 0, 1, 1])))


def test_partners_in_a_batch() -> None:
    assert facts("triplet", cloud()).partners == 1
    lonely = torch.arange(256)
    lonely[1::64] = lonely[::64]
    assert facts("triplet", cloud(), lonely).partners == pytest.approx(2 / 42)  # of 256 items, six batches


def test_a_loss_without_a_value_has_a_reason() -> None:
    with pytest.raises(NotObservable, match="two classes"):
        facts("triplet", cloud(), torch.zeros(256, dtype=torch.long))


def test_nothing_is_touched() -> None:
    model = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8))
    model[0].weight.grad = torch.ones(8, 16)
    probe = probe_of(model, cloud(), LABELS)
    before = snapshot(model)
    for loss in ("triplet", "vicreg", "cross-entropy"):
        objective_facts(probe, stated(loss))
    assert snapshot(model) == before
