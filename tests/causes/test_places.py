"""Faults where layers are no layers of their own, and faults that show elsewhere than they are."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from collapsecheck.causes import Diagnosis, Status
from collapsecheck.diagnosis import onset_of
from sample_models import architectures
from sample_models.working import data, working
from tests.causes.conftest import scanned

ACCUSED = (Status.CONFIRMED, Status.LIKELY)


def accused(diagnoses: tuple[Diagnosis, ...]) -> list[str]:
    return [f"{one.cause}@{one.layer}" for one in diagnoses if one.status in ACCUSED]


def top(net: nn.Module, inputs: Tensor | None = None) -> tuple[str, str, str]:
    """Kind, best cause with its layer, and where it begins."""
    pictures, labels = data()
    scene, verdict, diagnoses = scanned(net, pictures if inputs is None else inputs, labels)
    onset = onset_of(scene, diagnoses)
    found = accused(diagnoses)
    return str(verdict.kind), found[0] if found else "", onset.layer if onset is not None else ""


class Own(nn.Module):
    """A perceptron that keeps its weights itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(128, 64) * 0.1)
        self.shift = nn.Parameter(torch.zeros(128))
        self.second = nn.Parameter(torch.randn(64, 128) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.nn.functional.linear(x.flatten(1), self.first, self.shift)
        return torch.relu(rows) @ self.second.T


def own() -> nn.Module:
    return Own()


def weight_normalised() -> nn.Module:
    norm = parametrizations.weight_norm
    return nn.Sequential(
        nn.Flatten(),
        norm(nn.Linear(64, 128)),
        nn.ReLU(),
        norm(nn.Linear(128, 128)),
        nn.ReLU(),
        norm(nn.Linear(128, 64)),
    )


@pytest.mark.parametrize("build", [own, weight_normalised, architectures.gelu_perceptron, architectures.logistic])
def test_sound_nets_of_other_makes_are_not_accused(build: Callable[[], nn.Module]) -> None:
    assert top(working(build))[1] == ""


def test_a_models_own_weights_are_named() -> None:
    net = working(own)
    left, values, right = torch.linalg.svd(net.first.data, full_matrices=False)  # type: ignore[arg-type,union-attr]
    net.first.data = (left[:, :1] * values[:1]) @ right[:1]
    _, _, diagnoses = scanned(net, *data())
    assert diagnoses[0].cause == "low-rank-layer" and "first" in diagnoses[0].evidence
    net = working(own)
    net.shift.data -= 50  # type: ignore[operator]
    _, _, diagnoses = scanned(net, *data())
    assert diagnoses[0].cause == "dead-relu" and "linear" in diagnoses[0].evidence


@pytest.mark.parametrize("rank", [1, 2])
def test_weights_that_are_worked_out_are_named_and_stay_as_they_are(rank: int) -> None:
    net = working(weight_normalised)
    weight = net.get_parameter("3.parametrizations.weight.original1").data
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    weight.copy_((left[:, :rank] * values[:rank]) @ right[:rank])
    pictures, _ = data()
    before = net(pictures)
    assert top(net)[1] == "low-rank-layer@3"
    torch.testing.assert_close(net(pictures), before)


@pytest.mark.parametrize(
    ("name", "change", "cause"),
    [
        ("gru.weight_ih_l0", lambda weight: weight * 0, "constant-initialisation@gru"),
        ("gru.weight_ih_l0", lambda weight: weight * 1e-6, "vanishing-signal@gru"),
        ("gru.bias_ih_l0", lambda bias: bias + 50, "saturated-activation@gru"),
    ],
)
def test_recurrent_layers(name: str, change: Callable[[Tensor], Tensor], cause: str) -> None:
    net = working(architectures.recurrent)
    parameter = net.get_parameter(name)
    parameter.data.copy_(change(parameter.data))
    _, found, onset = top(net)
    assert found == cause and onset == "gru"


@pytest.mark.parametrize("place", ["1", "3"])
def test_gelu_dies_too(place: str) -> None:
    net = working(architectures.gelu_perceptron)
    net.get_parameter(f"{place}.bias").data -= 60
    assert top(net)[1:] == (f"dead-relu@{place}", place)


@pytest.mark.parametrize("build", [architectures.perceptron, architectures.recurrent, architectures.squashed])
def test_inputs_far_from_zero(build: Callable[[], nn.Module]) -> None:
    kind, found, onset = top(working(build), data()[0] * 58 + 600)
    assert kind == "None" or (found == "wrong-input-scale@input" and onset == "input")


def test_a_symptom_that_shows_later_begins_where_its_cause_is() -> None:
    """Shrunk by a BatchNorm, differences vanish only beside the shift of the next."""
    net = working(architectures.normalised)
    net.get_buffer("1.running_var").mul_(1e6)
    scene, _, diagnoses = scanned(net, *data())
    assert accused(diagnoses)[0] == "stale-batchnorm@1"
    onset = onset_of(scene, diagnoses)
    assert onset is not None and onset.layer == "1" and onset.gradual


def test_spoilt_weights_in_front_of_a_batchnorm_are_not_laid_to_its_charge() -> None:
    net = working(architectures.residual)
    net.get_parameter("blocks.0.conv1.weight").data.fill_(0.01)
    _, found, _ = top(net)
    assert found in ("", "constant-initialisation@blocks.0.conv1")


@pytest.mark.parametrize("place", ["1", "4"])
def test_a_bias_that_the_batchnorm_behind_never_saw(place: str) -> None:
    net = working(architectures.normalised_perceptron)
    net.get_parameter(f"{place}.bias").data -= 30
    assert top(net)[1:] == (f"dead-relu@{place}", place)
    net = working(architectures.normalised_perceptron)
    norm = str(int(place) + 1)
    net.get_buffer(f"{norm}.running_mean").add_(30)
    assert top(net)[1:] == (f"stale-batchnorm@{norm}", norm)


@pytest.mark.parametrize("name", ["blocks.2.bn1.bias", "blocks.2.bn2.weight"])
def test_a_dead_branch_of_a_residual_net_is_no_fault(name: str) -> None:
    net = working(architectures.residual)
    parameter = net.get_parameter(name).data
    parameter.copy_(parameter - 50 if name.endswith("bias") else parameter * 0)
    kind, found, _ = top(net)
    assert kind == "None" and not found


def test_one_nan_is_found_where_it_is_although_layers_are_sampled() -> None:
    net = working(architectures.residual)
    net.get_parameter("blocks.0.conv1.weight").data[17, 3, 1, 1] = float("nan")
    kind, found, onset = top(net)
    assert kind == "non-finite" and found == "non-finite-weights@blocks.0.conv1" and onset == "blocks.0.conv1"


def test_small_weights_are_not_laid_to_depths_charge() -> None:
    net = copy.deepcopy(working(architectures.deep_perceptron))
    for module in net:  # type: ignore[attr-defined]
        if isinstance(module, nn.Linear):
            module.weight.data *= 0.01
    _, found, _ = top(net)
    assert found.startswith("vanishing-signal") or not found
