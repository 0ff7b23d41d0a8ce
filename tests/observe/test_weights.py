"""Weights are found wherever they take part, and can be put into copies without a trace in the model."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from collapsecheck.models.readout import Readout
from collapsecheck.observe.probe import Probe, ProbeBatch, redrawn
from collapsecheck.observe.weights import Weight, biases_of, computed, plain, weights_of


class Own(nn.Module):
    """Weights without a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.w1, self.b1 = nn.Parameter(torch.randn(8, 6)), nn.Parameter(torch.randn(8))
        self.w2 = nn.Parameter(torch.randn(8, 5))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(functional.linear(x, self.w1, self.b1)) @ self.w2


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.stack([x, -x, x.flip(1)], 1)
        return self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(1)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(2, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x.reshape(len(x), 3, 2))[0][:, -1]


def normed() -> nn.Module:
    return nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 5)), nn.ReLU())


def hooked() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch warns of the old way, which checkpoints still use
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 5)), nn.ReLU())


def pruned() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU())
    prune.random_unstructured(model[0], "weight", amount=0.3)
    return model


def transposed() -> nn.Module:
    return nn.Sequential(nn.Unflatten(1, (6, 1)), nn.ConvTranspose1d(6, 5, 3), nn.Flatten())


BUILDERS = [Own, Attending, Recurrent, normed, hooked, pruned, transposed]


def probe_of(model: nn.Module, items: int = 16) -> Probe:
    batch = ProbeBatch(
        inputs=torch.randn(items, 6, generator=torch.Generator().manual_seed(0)), indices=torch.arange(items)
    )
    return Probe(readout=Readout(model.eval(), reason="the output"), batches=[batch], device=torch.device("cpu"))


def found(probe: Probe) -> list[Weight]:
    return [weight for layer in probe.layers for weight in weights_of(layer, probe.module)]


@pytest.mark.parametrize(
    ("build", "names", "biases"),
    [
        (Own, ["w1", "w2"], ["b1"]),
        (
            Attending,
            [*[f"{part} part of attention.in_proj_weight" for part in ("query", "key", "value")],
             "attention.out_proj.weight"],
            ["attention.out_proj.bias"],
        ),
        (Recurrent, ["gru.weight_ih_l0", "gru.weight_hh_l0"], []),
        (normed, ["0.weight"], ["0.bias"]),
        (hooked, ["0.weight"], ["0.bias"]),
        (pruned, ["0.weight"], ["0.bias"]),
        (transposed, ["1.weight"], ["1.bias"]),
    ],
)  # fmt: skip
def test_every_weight_is_found_at_its_step(build, names: list[str], biases: list[str]) -> None:  # type: ignore[no-untyped-def]
    probe = probe_of(build())
    assert [str(weight) for weight in found(probe)] == names
    assert [name for layer in probe.layers for name in biases_of(layer, probe.module)] == biases
    assert all(weight.layer.before is not None for weight in found(probe))


@pytest.mark.parametrize("build", BUILDERS)
def test_new_weights_count_in_the_copy_and_nowhere_else(build) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    probe = probe_of(build())
    before = probe.embeddings.copy()
    state = {name: tensor.clone() for name, tensor in probe.module.state_dict().items()}
    for weight in found(probe):
        assert abs(probe.with_tensors(weight.replaced(weight.rows)).embeddings - before).max() < 1e-6
        assert abs(probe.with_tensors(weight.replaced(weight.rows * 3)).embeddings - before).max() > 1e-6
        assert abs(redrawn(probe, [weight]).embeddings - before).max() > 1e-6
    again = probe_of(probe.module)
    assert abs(again.embeddings - before).max() == 0
    assert all(torch.equal(state[name], tensor) for name, tensor in probe.module.state_dict().items())


@pytest.mark.parametrize("build", [normed, hooked, pruned])
def test_a_plain_copy_computes_the_same_and_leaves_the_class_alone(build) -> None:  # type: ignore[no-untyped-def]
    model = build().eval().requires_grad_(requires_grad=False)
    x = torch.randn(4, 6)
    before, other = model(x), copy.deepcopy(model)
    new = plain(model[0])
    assert computed(model[0]) and not computed(new) and "weight" in dict(new.named_parameters())
    torch.testing.assert_close(torch.relu(new(x)), before)
    torch.testing.assert_close(other(x), before)
    torch.testing.assert_close(model(x), before)


def test_units_that_are_alike() -> None:
    linear = nn.Linear(6, 5)
    cases = {0.0: True, 0.3: True}
    for value, alike in cases.items():
        linear.weight.data.fill_(value)
        assert found(probe_of(nn.Sequential(linear)))[0].alike is alike
    nn.init.normal_(linear.weight)
    assert not found(probe_of(nn.Sequential(linear)))[0].alike


def test_a_blurring_kernel_is_not_what_makes_units_alike() -> None:
    """Each channel of a grouped convolution sees something else."""
    blur = nn.Conv1d(6, 6, 1, groups=6, bias=False)
    blur.weight.data.fill_(0.5)
    assert not found(probe_of(nn.Sequential(nn.Unflatten(1, (6, 1)), blur, nn.Flatten())))[0].alike
