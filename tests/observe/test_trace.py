from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from collapsecheck.observe.trace import Site, Trace


class Ear:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str, Tensor, Tensor | None]] = []

    def before(self, tensor: Tensor) -> Tensor:
        return tensor.clone()

    def after(self, site: Site, tensor: Tensor, before: Any) -> None:
        doubled = tensor + tensor  # what a listener computes is no part of the model
        assert doubled.shape == tensor.shape
        self.heard.append((str(site), site.type, tensor.clone(), before))

    @property
    def names(self) -> list[str]:
        return [name for name, *_ in self.heard]


def heard(model: nn.Module, *inputs: Tensor) -> Ear:
    ear = Ear()
    with torch.inference_mode(), Trace(model, ear).attached():
        model(*inputs)
    return ear


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x + self.act(self.one(x)))


def test_steps_come_in_the_order_of_execution_and_containers_do_not_repeat_their_last_part() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.Tanh(), nn.Linear(3, 2)))
    assert heard(model, torch.randn(5, 4)).names == ["0", "1.0", "1.1"]


def test_sums_and_modules_that_run_twice_are_told_apart() -> None:
    ear = heard(nn.Sequential(Residual()), torch.randn(5, 4))
    assert ear.names == ["0.one", "0.act", "add in 0", "0.act (call 2)"]


def test_what_an_in_place_step_got_is_heard_before_it_is_overwritten() -> None:
    x = torch.tensor([[-1.0, 2.0]])
    (_, _, after, before), *_ = heard(nn.Sequential(nn.ReLU(inplace=True)), x).heard
    assert before is not None and before.tolist() == [[-1.0, 2.0]] and after.tolist() == [[0.0, 2.0]]


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 4))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(functional.linear(x, self.weight))
        y = torch.sigmoid(y).relu_()
        y += 1
        return functional.normalize(functional.layer_norm(y, (6,)).view(-1, 6), dim=1)


def test_functions_of_the_user_s_forward_are_heard_by_name() -> None:
    ear = heard(Functional(), torch.randn(5, 4))
    places = [name.removesuffix(" in the model") for name in ear.names]
    assert places == ["linear", "relu", "sigmoid", "relu in the model (call 2)", "add", "layer_norm", "normalize"]


def test_functions_within_modules_of_torch_are_theirs() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    names = heard(model, torch.randn(3, 5, 8)).names
    assert names[0].startswith("self_attn") and not any(" in " in name for name in names)


def test_nothing_stays_attached_even_when_the_model_fails() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(4, 3))
    ear = Ear()
    trace = Trace(model, ear)
    with pytest.raises(RuntimeError), trace.attached():
        model(torch.randn(5, 4))
    assert ear.names == ["0"]
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    with trace.attached():
        model[0](torch.randn(5, 4))
        torch.relu(torch.ones(3))  # outside of the model
    assert ear.names == ["0", "0"]


def test_calls_are_counted_anew_in_each_pass() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    ear = Ear()
    with Trace(model, ear).attached():
        model(torch.randn(5, 4))
        model(torch.randn(5, 4))
    assert ear.names == ["0", "0"]


def test_tuples_dicts_and_outputs_without_tensors() -> None:
    class Strange(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return None if x.sum() > 1e9 else {"length": 3}

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(4, 3, batch_first=True)
            self.strange = Strange()

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            states, last = self.rnn(x)
            self.strange(x)
            return {"embedding": last[0], "states": states}

    ear = heard(Model(), torch.randn(5, 7, 4))
    assert ear.names == ["rnn", "output"]
    assert ear.heard[0][2].shape == (5, 7, 3) and ear.heard[1][2].shape == (5, 3)


def test_results_do_not_change() -> None:
    model, x = Functional(), torch.randn(5, 4)
    with torch.inference_mode():
        expected = model(x)
        with Trace(model, Ear()).attached():
            assert torch.equal(model(x), expected)
