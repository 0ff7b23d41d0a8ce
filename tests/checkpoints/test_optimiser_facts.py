from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from collapsecheck.checkpoints import read_checkpoint
from collapsecheck.checkpoints.optimiser_facts import OptimiserFacts, optimiser_facts
from collapsecheck.checkpoints.state_dicts import find_state_dicts
from tests.checkpoints.test_training_state import HOSTILE, anything

Facts = Callable[..., OptimiserFacts]
Make = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


@pytest.fixture
def facts(tmp_path: Path) -> Facts:
    def read(model: nn.Module, *optimisers: torch.optim.Optimizer) -> OptimiserFacts:
        states = [one.state_dict() for one in optimisers]
        torch.save({"model": model.state_dict(), "optimizer_states": states}, tmp_path / "m.pt")
        content = read_checkpoint(tmp_path / "m.pt").content
        buffers = dict(model.named_buffers())
        found = optimiser_facts(content, find_state_dicts(content).usable[0].tensors, buffers=buffers)
        assert found is not None
        return found

    return read


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 8)
    )


def teach(model: nn.Module, optimiser: torch.optim.Optimizer, steps: int = 30, head: nn.Module | None = None) -> None:
    torch.manual_seed(1)
    for _ in range(steps):
        x = torch.randn(16, 1, 6, 6)
        rows = model(x)
        loss = functional.mse_loss(head(rows) if head is not None else rows, x.flatten(1)[:, :8])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def adam(parameters: Any, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, **{"lr": 1e-3, **options})


# ---- what is held


def test_a_sound_training_has_nothing_odd(facts: Facts) -> None:
    model = net()
    optimiser = adam(model.parameters())
    teach(model, optimiser)
    found = facts(model, optimiser)
    assert (found.fits, found.reason, found.held, found.extra, found.missing_count) == (True, "", 8, 0, 0)
    assert not any((found.missing, found.untouched, found.stopped, found.behind, found.decayed))
    assert (found.kind, found.steps, found.rate_for_adaptive) == ("Adam", (30.0, 30.0), None)
    assert found.updates is not None and found.updates.count == 3
    assert 1e-4 < found.updates.median <= found.updates.upper < 0.1
    assert found.silence is not None and 0.1 < found.silence < 1.1
    assert (found.decay_share, found.half_life) == (None, None)


def test_a_head_that_was_not_saved_is_normal(facts: Facts) -> None:
    model, head = net(), nn.Linear(8, 8)
    optimiser = adam([*model.parameters(), *head.parameters()])
    teach(model, optimiser, head=head)
    found = facts(model, optimiser)
    assert (found.fits, found.held, found.extra, found.missing_count) == (True, 8, 2, 0)
    assert found.updates is not None


@pytest.mark.parametrize("beside", [False, True])
def test_a_frozen_beginning_is_named(facts: Facts, beside: bool) -> None:
    model, head = net(), nn.Linear(8, 8)
    kept = [*model[4].parameters(), *model[6].parameters(), *(head.parameters() if beside else ())]
    optimiser = adam(kept)
    teach(model, optimiser, head=head)
    found = facts(model, optimiser)
    assert found.missing == ("0.weight", "0.bias", "1.weight", "1.bias")
    assert (found.fits, found.missing_count, found.held, found.extra) == (True, 4, 4, 2 * beside)


def test_one_of_several_alike_is_counted_and_not_named(facts: Facts) -> None:
    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(4)), nn.Flatten())
    optimiser = adam([parameter for i in (0, 2, 3) for parameter in model[i].parameters()])
    model(torch.ones(2, 8)).sum().backward()
    optimiser.step()
    found = facts(model, optimiser)
    assert (found.missing, found.missing_count) == ((), 2)


def test_buffers_are_no_parameters(facts: Facts) -> None:
    model = net()
    model.register_buffer("scale", torch.ones(3, 3))
    optimiser = adam([parameter for name, parameter in model.named_parameters() if name != "4.bias"])
    teach(model, optimiser)
    assert facts(model, optimiser).missing == ("4.bias",)


def test_two_optimisers_hold_it_together(facts: Facts) -> None:
    model = net()
    first, second = adam([*model[0].parameters(), *model[1].parameters()]), adam(model[4].parameters())
    for optimiser in (first, second):
        teach(model, optimiser)
    found = facts(model, first, second)
    assert found.missing == ("6.weight", "6.bias")
    assert (found.held, found.missing_count) == (6, 2)


# ---- what gets no gradient


class Cut(nn.Module):
    """The first layer is `detach`ed from some step on, the second never takes part."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.unused, self.last = nn.Linear(36, 16), nn.Linear(5, 7), nn.Linear(16, 8)
        self.cut = False

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x.flatten(1))
        return self.last((hidden.detach() if self.cut else hidden).tanh())


MAKES: dict[str, Make] = {
    "Adam": lambda p: torch.optim.Adam(p, lr=1e-3),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.1),
    "SGD": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9),
}


@pytest.mark.parametrize("make", MAKES.values(), ids=list(MAKES))
def test_what_never_had_a_gradient_is_untouched(facts: Facts, make: Make) -> None:
    torch.manual_seed(0)
    model = Cut()
    optimiser = make(list(model.parameters()))
    model.cut = True
    teach(model, optimiser)
    found = facts(model, optimiser)
    assert found.untouched == ("first.weight", "first.bias", "unused.weight", "unused.bias")
    assert not found.stopped and not found.missing


@pytest.mark.parametrize("make", MAKES.values(), ids=list(MAKES))
def test_gradients_that_were_exactly_zero_leave_it_untouched(facts: Facts, make: Make) -> None:
    torch.manual_seed(0)
    model = Cut()
    optimiser = make(list(model.parameters()))
    nn.init.zeros_(model.last.weight)
    model.last.weight.requires_grad_(requires_grad=False)  # nothing comes through a layer of zeros
    teach(model, optimiser)
    assert {"first.weight", "first.bias"} <= set(facts(model, optimiser).untouched)


@pytest.mark.parametrize("make", MAKES.values(), ids=list(MAKES))
def test_gradients_that_stopped_are_told_from_small_ones(facts: Facts, make: Make) -> None:
    torch.manual_seed(0)
    model = Cut()
    optimiser = make(list(model.parameters()))
    teach(model, optimiser)
    for _ in range(200):  # gradients of zero, not none, as behind units that have died
        rows = model(torch.randn(16, 1, 6, 6))
        loss = functional.mse_loss(rows, torch.randn(16, 8))
        optimiser.zero_grad()
        loss.backward()
        for parameter in model.first.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimiser.step()
    stopped = facts(model, optimiser).stopped
    assert stopped == (("first.weight",) if isinstance(optimiser, torch.optim.SGD) else ("first.weight", "first.bias"))


def test_parameters_without_a_gradient_fall_behind(facts: Facts) -> None:
    torch.manual_seed(0)
    model = Cut()
    optimiser = adam(list(model.parameters()))
    teach(model, optimiser)
    model.cut = True
    teach(model, optimiser)
    found = facts(model, optimiser)
    assert (found.behind, found.steps) == (("first.weight", "first.bias"), (30.0, 60.0))
    assert found.untouched == ("unused.weight", "unused.bias")


class Attention(nn.Module):
    """Keys with a bias of their own, which softmax makes irrelevant."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(6, 6) for _ in range(3))
        self.last = nn.Linear(6, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, 0]
        weights = (self.query(x) @ self.key(x).transpose(1, 2)).softmax(dim=2)
        return self.last((weights @ self.value(x)).mean(dim=1))


@pytest.mark.parametrize("make", MAKES.values(), ids=list(MAKES))
@pytest.mark.parametrize("build", [net, Attention])
def test_biases_that_nothing_depends_on_are_no_loss(facts: Facts, build: Callable[[], nn.Module], make: Make) -> None:
    torch.manual_seed(0)
    model = build()
    optimiser = make(list(model.parameters()))
    teach(model, optimiser, steps=120)
    found = facts(model, optimiser)
    assert not found.untouched and not found.stopped


def test_the_last_bias_of_a_loss_of_differences_is_no_loss(facts: Facts) -> None:
    model = net()
    optimiser = adam(model.parameters())
    for _ in range(50):
        first, second = model(torch.randn(16, 1, 6, 6)).chunk(2)
        optimiser.zero_grad()
        (1 - (first - second).square().sum(1)).relu().sum().add((first - second).square().mean()).backward()
        optimiser.step()
    found = facts(model, optimiser)
    assert not found.untouched and not found.stopped


# ---- steps


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adam(p, lr=0.01),
        lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.5),
        lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    ],
)
def test_the_next_step_is_the_one_that_the_optimiser_takes(facts: Facts, make: Make) -> None:
    model = nn.Sequential(nn.Linear(6, 4, bias=False).double())
    torch.manual_seed(0)
    optimiser = make(list(model.parameters()))
    x, y = torch.randn(64, 6).double(), torch.randn(64, 4).double()

    def step() -> None:
        optimiser.zero_grad()
        functional.mse_loss(model(x), y).backward()
        optimiser.step()

    for _ in range(3):
        step()
    before = model[0].weight.detach().clone()
    told = facts(model, optimiser)
    step()
    moved = float((model[0].weight.detach() - before).norm() / before.norm())
    assert told.updates is not None
    assert told.updates.median == pytest.approx(moved, rel=0.2)  # the next gradient is not known, but much the same


def test_sgd_without_momentum_keeps_nothing(facts: Facts) -> None:
    model = net()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    teach(model, optimiser)
    found = facts(model, optimiser)
    assert (found.fits, found.updates, found.untouched, found.missing) == (True, None, (), ())


@pytest.mark.parametrize(
    ("kind", "rate", "told"),
    [
        (torch.optim.Adam, 0.2, 0.2), (torch.optim.AdamW, 1e-3, None), (torch.optim.SGD, 0.2, None),
        (torch.optim.Adadelta, 1.0, None),
    ],
)  # fmt: skip
def test_a_rate_of_another_optimiser(facts: Facts, kind: Any, rate: float, told: float | None) -> None:
    model = net()
    optimiser = kind(model.parameters(), lr=rate)
    teach(model, optimiser, steps=2)
    assert facts(model, optimiser).rate_for_adaptive == told


def test_the_rate_at_its_peak_counts_at_the_end_of_a_schedule(facts: Facts) -> None:
    model = net()
    optimiser = adam(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1e-6 if step else 1.0)
    teach(model, optimiser, steps=10)
    scheduler.step()
    updates = facts(model, optimiser).updates
    assert updates is not None
    assert updates.at_peak == pytest.approx(1e6 * updates.median, rel=1e-6)


@pytest.mark.parametrize("make", [
    lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=2.0),
    lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.5, weight_decay=1.0),
])  # fmt: skip
def test_decay_is_all_that_is_left_where_no_gradient_comes(facts: Facts, make: Make) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 4))
    optimiser = make(list(model.parameters()))
    for step in range(200):
        optimiser.zero_grad()
        (model(torch.randn(8, 6)).square().mean() * float(step < 50)).backward()
        optimiser.step()
    before = model[0].weight.detach().clone()
    found = facts(model, optimiser)
    assert found.decayed == ("0.weight", "1.weight")
    assert found.decay_share is not None and found.decay_share > 0.95
    assert found.half_life is not None
    for _ in range(round(found.half_life)):
        optimiser.zero_grad()
        (model(torch.randn(8, 6)).square().mean() * 0).backward()
        optimiser.step()
    halved = float(model[0].weight.detach().norm() / before.norm())
    assert halved == pytest.approx(0.5, rel=0.1)


def test_what_decay_alone_could_have_left(facts: Facts) -> None:
    model = net()
    for optimiser, left in (
        (torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01), math.exp(-30 * 1e-5)),
        (torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=10.0), math.exp(-3)),
        (torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0), 1.0),
        (adam(model.parameters(), weight_decay=0.1), None),
        (torch.optim.RMSprop(model.parameters(), lr=1e-3, weight_decay=0.1), None),
    ):
        teach(model, optimiser)
        found = facts(model, optimiser).decay_left
        assert found == (None if left is None else pytest.approx(left))


# ---- what does not fit


def test_the_state_of_another_model_gets_a_reason(facts: Facts) -> None:
    model, other = net(), nn.Sequential(nn.Flatten(), nn.Linear(36, 9), nn.Linear(9, 8))
    optimiser = adam(other.parameters())
    teach(other, optimiser)
    found = facts(model, optimiser)
    assert not found.fits
    assert "4 entries" in found.reason and "8 parameters" in found.reason
    assert (found.updates, found.missing, found.held) == (None, (), 0)


def test_another_optimiser_that_does_not_fit_may_hold_what_is_missing(facts: Facts) -> None:
    model, other = net(), nn.Linear(36, 9)
    first = adam([*model[4].parameters(), *model[6].parameters()])
    teach(model, first)
    second = adam(other.parameters())
    other(torch.ones(1, 36)).sum().backward()
    second.step()
    found = facts(model, first, second)
    assert (found.fits, found.missing, found.missing_count) == (True, (), 0)


def damaged(change: Callable[[dict[str, Any]], object], tmp_path: Path) -> OptimiserFacts:
    model = net()
    optimiser = adam(model.parameters())
    teach(model, optimiser, steps=3)
    state = optimiser.state_dict()
    change(state)
    torch.save({"model": model.state_dict(), "optimizer": state}, tmp_path / "m.pt")
    content = read_checkpoint(tmp_path / "m.pt").content
    found = optimiser_facts(content, find_state_dicts(content).usable[0].tensors)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda s: s["state"][0].update(exp_avg=torch.ones(5)), "different shapes"),
        (lambda s: s["state"][0].update(step=torch.tensor(-3.0)), "-3 steps"),
        (lambda s: s["param_groups"][0]["params"].append(0), "twice"),
        (lambda s: s["state"][4].update(exp_avg=torch.ones(16, 65), exp_avg_sq=torch.ones(16, 65)), "does not fit"),
        (
            lambda s: (
                s["param_groups"][0].update(params=[0, 1])
                or s["state"][1].update(exp_avg=None, exp_avg_sq=torch.ones(9, 9))
            ),
            "does not fit",
        ),
        (lambda s: s["param_groups"][0].update(params=[]), "does not fit"),
    ],
)
def test_damage_gets_a_reason(change: Any, word: str, tmp_path: Path) -> None:
    found = damaged(change, tmp_path)
    assert not found.fits and word in found.reason
    assert found == OptimiserFacts(kind=found.kind, fits=False, reason=found.reason)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["state"][0]["exp_avg"].fill_(math.nan),
        lambda s: s["state"][0]["exp_avg_sq"].fill_(-1.0),
        lambda s: s["param_groups"][0].update(lr=math.nan),
        lambda s: s["param_groups"][0].update(lr="high", betas=[2, "x"], eps=-1, weight_decay=1e308),
        lambda s: s["param_groups"][0].update(weight_decay=1e308, decoupled_weight_decay=True, lr=1e308),
        lambda s: s["param_groups"][0].update(betas=(1 - 1e-17, 0.0), eps=0),
        lambda s: s["state"][0].update(step=1 << 200),
        lambda s: s["state"].update({0: {"exp_avg": [1, 2], "step": None}}),
        lambda s: s["state"][0].update(exp_avg=torch.ones(4, 1, 3, 3, dtype=torch.int64)),
        lambda s: [entry.update(exp_avg_sq=entry["exp_avg_sq"].half()) for entry in s["state"].values()],
    ],
)
def test_odd_values_neither_break_it_nor_become_facts(change: Any, tmp_path: Path) -> None:
    found = damaged(change, tmp_path)
    for value in (found.updates.median if found.updates else 0.0, found.decay_share or 0.0, found.silence or 0.0):
        assert math.isfinite(value)
    assert not found.missing and not found.stopped


@pytest.mark.parametrize("content", HOSTILE.values(), ids=list(HOSTILE))
def test_whatever_a_file_says_is_contained(content: dict[str, Any]) -> None:
    found = optimiser_facts(content, {})
    assert found is None or (not found.fits and found.reason)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["optimizer", "optimizer_states"]), anything))
def test_nothing_plain_breaks_it(content: dict[str, Any]) -> None:
    found = optimiser_facts(content, {})
    assert found is None or not found.fits


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, 7), min_size=1), st.booleans(), st.sampled_from(list(MAKES)))
def test_planted_gaps_are_never_named_wrongly(kept: set[int], beside: bool, kind: str) -> None:
    model, head = net(), nn.Linear(8, 9)
    names, parameters = zip(*model.named_parameters(), strict=True)
    chosen = [parameters[i] for i in sorted(kept)] + (list(head.parameters()) if beside and len(kept) > 2 else [])
    optimiser = MAKES[kind](chosen)
    head(model(torch.randn(16, 1, 6, 6))).square().mean().backward()
    optimiser.step()
    content = held({"model": model.state_dict(), "optimizer": optimiser.state_dict()})
    found = optimiser_facts(content, content["model"])
    assert found is not None and found.fits
    absent = {name for i, name in enumerate(names) if i not in kept}
    assert set(found.missing) <= absent
    assert found.missing_count == len(absent)
    assert not found.untouched and not found.stopped


def held(value: Any) -> Any:
    """What a file of this content is read as."""
    from collapsecheck.checkpoints import HeldTensor

    if isinstance(value, Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        return HeldTensor(dtype=dtype, shape=tuple(value.shape), content=value.detach().numpy().tobytes())
    if isinstance(value, dict):
        return {key: held(one) for key, one in value.items()}
    return [held(one) for one in value] if isinstance(value, list) else value
