"""Gradients on a few items: what they say of known nets, that nothing is touched, and what cannot be measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from collapsecheck.models.readout import Readout
from collapsecheck.objectives import stated
from collapsecheck.observe import NotObservable
from collapsecheck.observe.backward import gathered, run
from collapsecheck.observe.gradient_probe import gradients_of
from collapsecheck.observe.gradients import Gradients
from collapsecheck.observe.probe import Probe, ProbeBatch
from tests.observe.untouched import snapshot


def probe_of(
    model: nn.Module, inputs: Any = None, labels: Tensor | None = None, size: int = 64, **options: Any
) -> Probe:
    torch.manual_seed(1)
    inputs = torch.randn(64, 16) if inputs is None else inputs
    count = len(inputs) if isinstance(inputs, Tensor) else len(next(iter(inputs.values())))
    whole = ProbeBatch(inputs=inputs, indices=torch.arange(count), labels=labels)
    batches = [whole.part(slice(start, start + size)) for start in range(0, count, size)]
    return Probe(readout=Readout(model.eval(), reason=""), batches=batches, device=torch.device("cpu"), **options)


def perceptron(depth: int, activation: Callable[[], nn.Module] = nn.ReLU, width: int = 16) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*[part for _ in range(depth) for part in (nn.Linear(width, width), activation())])


def by_layer(found: Gradients) -> dict[str, float]:
    return {one.layer: one.gradient for one in found.layers}


def test_gradients_are_those_of_a_plain_backward() -> None:
    model = perceptron(3, nn.Tanh)
    probe = probe_of(model)
    objective = stated("spread")
    found = gradients_of(probe, objective)
    value = objective(model(probe.batches[0].inputs).double())
    wanted = torch.autograd.grad(value, [model[place].weight for place in (0, 2, 4)])
    assert found.value == pytest.approx(float(value.detach()), rel=1e-6)
    for place, gradient in zip(("0", "2", "4"), wanted, strict=True):
        assert by_layer(found)[place] == pytest.approx(float(gradient.norm()), rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_pull_is_that_of_every_layer_in_a_homogeneous_net(seed: int) -> None:
    """Euler: in a net of rectifiers without biases the inner product of weight and gradient is the same everywhere."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(16, 32, bias=False), nn.ReLU(), nn.Linear(32, 8, bias=False))
    made = run(probe_of(model))
    value = (made.rows * torch.randn_like(made.rows)).sum()
    value.backward()
    products = [float((one.detach() * one.grad).sum()) for one in made.probe.module.parameters()]
    assert products == pytest.approx([float(value.detach())] * 2, rel=1e-4)


@pytest.mark.parametrize(
    ("model", "low", "high"),
    [
        (perceptron(4), 0.03, 3),
        (perceptron(50, nn.Sigmoid), 0, 1e-20),
        (perceptron(20, nn.Sigmoid), 1e-25, 1e-8),
    ],
)
def test_decay_through_depth(model: nn.Module, low: float, high: float) -> None:
    assert low <= gradients_of(probe_of(model)).decay <= high


@pytest.mark.parametrize("seed", range(2))
def test_a_gradient_grows_behind_many_normalised_layers(seed: int) -> None:
    """Yang et al. 2019: batch normalisation of rectifiers multiplies the gradient by about 1.2 in each layer."""
    torch.manual_seed(seed)
    parts = [part for _ in range(30) for part in (nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())]
    model = nn.Sequential(*parts).train()
    inputs = torch.randn(64, 64)
    for _ in range(50):
        model(inputs)
    found = gradients_of(probe_of(model, inputs))
    assert 20 < found.decay < 1e4 and found.excess > 5


@pytest.mark.parametrize("size", [8, 16, 32, 64])
def test_decay_is_comparable_across_batch_sizes(size: int) -> None:
    """Ten layers that keep a third of the gradient each: 64 items and 8 tell the same, to a factor of two."""
    whole = gradients_of(probe_of(perceptron(10, nn.Tanh))).decay
    part = gradients_of(probe_of(perceptron(10, nn.Tanh)).first(size)).decay
    assert whole / 2 < part < 2 * whole


class Cut(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


class Rounded(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.round(x * 50) / 50


@pytest.mark.parametrize("cut", [Cut, Rounded])
def test_what_is_cut_off_is_told_from_what_is_not_used(cut: Callable[[], nn.Module]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.cut, self.last = nn.Linear(16, 16), cut(), nn.Linear(16, 8)
            self.unused, self.head = nn.Linear(16, 16), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            rows = self.last(self.cut(self.first(x)))
            self.head(rows)  # its result goes nowhere
            return rows

    torch.manual_seed(0)
    found = gradients_of(probe_of(Net()))
    assert [one.layer for one in found.cut] == ["first"]
    assert {one.layer: one.moves for one in found.layers if one.layer in ("unused", "head")} == {"unused": 0, "head": 0}
    assert not found.dead_start


def test_what_is_dead_is_not_cut_off() -> None:
    model = perceptron(3)
    with torch.no_grad():
        model[2].bias.fill_(-100)
    found = gradients_of(probe_of(model))
    assert not found.cut and [one.layer for one in found.dead_start] == ["0", "2", "4"]


def test_a_dead_side_branch_is_no_dead_start() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.side, self.last = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 8)
            nn.init.constant_(self.side.bias, -100)

        def forward(self, x: Tensor) -> Tensor:
            rows = self.first(x)
            return self.last(rows + torch.relu(self.side(rows)))

    found = gradients_of(probe_of(Net()))
    assert not found.dead_start and not found.cut


def test_frozen_layers_are_measured_all_the_same() -> None:
    model = perceptron(3)
    model[0].requires_grad_(False)
    found = gradients_of(probe_of(model))
    assert by_layer(found)["0"] > 0 and [one.frozen for one in found.layers] == [True, False, False]


def test_a_model_without_gradients_at_all_is_no_broken_one() -> None:
    class Inference(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = perceptron(2)

        @torch.no_grad()
        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    found = gradients_of(probe_of(Inference()))
    assert len(found.cut) == 2 and not found.learning and math.isnan(found.similarity)


@pytest.mark.parametrize(
    "model",
    [
        perceptron(3),
        nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 4)),
        nn.Sequential(nn.Unflatten(1, (4, 4)), nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), nn.Flatten()),
    ],
)
def test_nothing_is_touched(model: nn.Module) -> None:
    for parameter in list(model.parameters())[::2]:
        parameter.grad = torch.randn_like(parameter)
    next(model.parameters()).requires_grad_(False)
    model.register_forward_hook(lambda *_: None)
    probe = probe_of(model, labels=torch.arange(64) % 4)
    before = snapshot(model)
    gradients_of(probe)
    gradients_of(probe, stated("triplet"))
    gradients_of(probe, stated("nt-xent"))
    assert snapshot(model) == before


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.last = nn.Embedding(20, 8), nn.Linear(8, 4)

    def forward(self, ids: Tensor) -> Tensor:
        return self.last(self.embedding(ids).mean(1))


def test_whole_numbers_have_no_jacobian_and_gradients_all_the_same() -> None:
    found = gradients_of(probe_of(Tokens(), torch.randint(0, 20, (64, 5))))
    assert math.isnan(found.elasticity) and "whole numbers" in found.reasons["input-sensitivity"]
    assert len(found.learning) == 2 and math.isfinite(found.similarity)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_parts(reentrant: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = perceptron(2), nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(checkpoint(self.first, x, use_reentrant=reentrant))

    found = gradients_of(probe_of(Net()))
    assert len(found.learning) == 3 and not found.cut


def test_compiled_parts_run_as_they_were_written() -> None:
    found = gradients_of(probe_of(nn.Sequential(torch.compile(perceptron(2)), nn.Linear(16, 4))))
    assert len(found.learning) == 3


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_recurrent_layers_get_gradients(kind: type[nn.RNNBase]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = kind(4, 8, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x)[0][:, -1]

    found = gradients_of(probe_of(Net(), torch.randn(64, 4, 4)))
    assert len(found.learning) == 1 and not found.cut
    assert math.isnan(found.similarity) and "similarity" in found.reasons  # it keeps its weights in a second list


@pytest.mark.parametrize(
    ("model", "inputs", "reason"),
    [
        (nn.Flatten(), None, "no parameters"),
        (perceptron(2), torch.randn(1, 16), "1 items"),
        (perceptron(2), torch.randn(64, 3), "does not run"),
        (nn.Sequential(nn.Linear(16, 4), nn.Threshold(1e9, 0.0)), None, "zero"),
    ],
)
def test_what_cannot_be_measured_has_a_reason(model: nn.Module, inputs: Tensor | None, reason: str) -> None:
    with pytest.raises(NotObservable, match=reason):
        gradients_of(probe_of(model, inputs))


def test_a_model_that_cannot_be_copied_has_a_reason() -> None:
    model = perceptron(2)
    model.stream = (part for part in ())  # a generator
    with pytest.raises(NotObservable, match="cannot be copied"):
        gradients_of(probe_of(model))


def test_a_backward_that_fails_has_a_reason() -> None:
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return 2 * x

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            raise ValueError("not today")

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            return Broken.apply(self.first(x))

    with pytest.raises(NotObservable, match="not today"):
        gradients_of(probe_of(Net()))


def test_what_has_no_forward_derivative_is_measured_by_differences() -> None:
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return 2 * x

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            return 2 * gradients[0]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first = nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            return Twice.apply(self.first(x))

    found = gradients_of(probe_of(Net()))
    assert "jvp" in found.reasons and found.excess == pytest.approx(1, rel=1e-3)  # it is linear


def test_a_straight_line_has_no_excess_and_steps_have_none_of_it() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(16, 8)
    assert gradients_of(probe_of(linear)).excess == pytest.approx(1, rel=1e-4)
    assert gradients_of(probe_of(nn.Sequential(linear, nn.Tanh()))).excess < 1.5


def test_items_that_all_ask_for_the_same_are_alike() -> None:
    torch.manual_seed(0)
    same = torch.randn(1, 16) + 1e-3 * torch.randn(64, 16)
    model = nn.Linear(16, 1)  # a single dimension: every direction is the same, up to its sign
    assert abs(gradients_of(probe_of(perceptron(3), torch.randn(64, 16))).similarity) < 0.2
    made = gradients_of(probe_of(model, same), stated("spread"))
    assert math.isfinite(made.similarity)


def test_small_batches_are_put_together() -> None:
    batch = gathered(probe_of(perceptron(2), torch.randn(10, 16), labels=torch.arange(10), size=4))
    assert batch.indices.tolist() == list(range(10)) and batch.labels is not None


def test_several_inputs_by_name() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(16, 4)

        def forward(self, x: Tensor, scale: Tensor) -> Tensor:
            return self.first(x) * scale

    inputs = {"x": torch.randn(64, 16), "scale": torch.ones(64, 1)}
    found = gradients_of(probe_of(Net(), inputs))
    assert len(found.learning) == 1 and math.isnan(found.elasticity)


def test_a_loss_without_a_value_is_replaced_with_its_reason() -> None:
    found = gradients_of(probe_of(perceptron(2), labels=torch.zeros(64, dtype=torch.long)), stated("triplet"))
    assert not found.stated and "two classes" in found.reasons["objective"]


def test_half_precision_is_widened() -> None:
    found = gradients_of(probe_of(perceptron(3).half(), torch.randn(64, 16)))
    assert found.decay > 0


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("wrap", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
def test_weights_that_are_worked_out(wrap: Callable[[nn.Module], nn.Module]) -> None:
    model = nn.Sequential(wrap(nn.Linear(16, 16)), nn.ReLU(), nn.Linear(16, 4))
    model(torch.randn(4, 16))  # leaves a weight with a history
    found = gradients_of(probe_of(model))
    assert len(found.learning) == 2 and not found.cut


def test_a_forward_that_writes_to_its_own_weights_changes_none_of_the_users() -> None:
    class Writing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                self.first.bias.add_(1)
            return self.first(x)

    model = Writing()
    probe = probe_of(model)
    before = snapshot(model)
    gradients_of(probe)
    assert snapshot(model) == before


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three layers of 16 numbers keep 100 to 200 bytes of an item: some fit into 3000 bytes, and not four into 100."""
    probe = probe_of(perceptron(3))
    monkeypatch.setattr("collapsecheck.observe.backward.MEMORY", 3_000)
    assert 4 <= gradients_of(probe).items < 32
    monkeypatch.setattr("collapsecheck.observe.backward.MEMORY", 100)
    with pytest.raises(NotObservable, match="GiB of memory"):
        gradients_of(probe)


def test_what_fails_is_not_tried_again() -> None:
    from collapsecheck import testing
    from collapsecheck.examination import examine

    calls = []

    def failing() -> Gradients:
        calls.append(1)
        raise NotObservable("no")

    seen = testing.power_law()
    seen.gradients_from = failing
    reasons = {one.check: one.message for one in examine(seen) if one.check in ("cut-gradient", "vanishing-gradient")}
    assert reasons == {"cut-gradient": "no", "vanishing-gradient": "no"} and len(calls) == 1
