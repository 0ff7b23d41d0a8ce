"""Each cause is named on top where it is at work, at its layer; sound nets are not accused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tests.causes.conftest import ITEMS, at, convolutional, digits, named, perceptron, scanned, squashed, trained

LAYERS = nn.Linear | nn.Conv2d


def weighted(net: nn.Sequential) -> list[str]:
    return [name for name, module in net.named_modules() if isinstance(module, LAYERS)]


@pytest.mark.parametrize("build", [convolutional, perceptron, squashed])
@pytest.mark.parametrize("seed", [0, 1])
def test_sound_nets_are_not_accused(build, seed: int) -> None:  # type: ignore[no-untyped-def]
    _, verdict, diagnoses = scanned(trained(build, seed))
    assert verdict.status in ("healthy", "degraded") and not named(diagnoses)


def test_dead_relu(net: nn.Sequential) -> None:
    layer = weighted(net)[-2]
    if isinstance(net.get_submodule(layer), nn.Conv2d):
        layer = str(int(layer) + 1)  # the BatchNorm behind it is what the ReLU gets
    net.get_submodule(layer).bias.data.fill_(-50)
    scene, verdict, diagnoses = scanned(net)
    assert verdict.kind == "complete" and named(diagnoses) == "dead-relu" and diagnoses[0].layer == layer
    assert scene.onset is not None
    assert diagnoses[0].before["unit_spread"] < 1e-3 and diagnoses[0].after["unit_spread"] > 0.1


def test_stale_batchnorm() -> None:
    net = copy.deepcopy(trained(convolutional))
    _, norm = at(net, nn.BatchNorm2d, 1)
    norm.running_var.fill_(1e8)
    _, _, diagnoses = scanned(net)
    assert named(diagnoses) == "stale-batchnorm" and diagnoses[0].layer == "4"
    assert diagnoses[0].control  # the first BatchNorm is sound, and served as a sham


@pytest.mark.parametrize("value", [0.0, 0.01])
def test_constant_initialisation(net: nn.Sequential, value: float) -> None:
    layer = weighted(net)[-1]
    net.get_submodule(layer).weight.data.fill_(value)
    _, _, diagnoses = scanned(net)
    assert named(diagnoses) == "constant-initialisation" and diagnoses[0].layer == layer


def test_low_rank_layer(net: nn.Sequential) -> None:
    layer = weighted(net)[-1]
    module = net.get_submodule(layer)
    u, s, v = torch.linalg.svd(module.weight.data, full_matrices=False)
    module.weight.data = (u[:, :1] * s[:1]) @ v[:1]
    _, verdict, diagnoses = scanned(net)
    assert verdict.kind == "dimensional"
    assert named(diagnoses) == "low-rank-layer" and diagnoses[0].layer == layer


def test_common_offset(net: nn.Sequential) -> None:
    layer = weighted(net)[-1]
    net.get_submodule(layer).bias.data += 200 * torch.randn(64, generator=torch.Generator().manual_seed(0))
    _, _, diagnoses = scanned(net)
    assert named(diagnoses) == "common-offset" and diagnoses[0].layer == layer


def test_rogue_dimension(net: nn.Sequential) -> None:
    net.get_submodule(weighted(net)[-1]).bias.data[7] += 400
    _, _, diagnoses = scanned(net)
    assert named(diagnoses) == "rogue-dimension" and "7" in diagnoses[0].evidence


def test_vanishing_signal(net: nn.Sequential) -> None:
    layer = weighted(net)[-1]
    net.get_submodule(layer).weight.data *= 1e-6
    _, _, diagnoses = scanned(net)
    assert named(diagnoses) == "vanishing-signal" and diagnoses[0].layer == layer


def test_saturated_activation() -> None:
    net = copy.deepcopy(trained(squashed))
    net[3].weight.data *= 0.01
    net[3].bias.data += 30
    _, _, diagnoses = scanned(net)
    assert named(diagnoses) == "saturated-activation" and diagnoses[0].layer == "3"


def test_zeroed_normalisation_scale() -> None:
    net = copy.deepcopy(trained(convolutional))
    net[4].weight.data.zero_()
    _, _, diagnoses = scanned(net)
    assert named(diagnoses) == "zeroed-normalisation-scale" and diagnoses[0].layer == "4"


def test_non_finite_weights(net: nn.Sequential) -> None:
    layer = weighted(net)[1]
    net.get_submodule(layer).weight.data.view(-1)[3] = float("nan")
    _, verdict, diagnoses = scanned(net)
    assert verdict.kind == "non-finite"
    assert named(diagnoses) == "non-finite-weights" and diagnoses[0].layer == layer


def test_repeated_inputs(net: nn.Sequential) -> None:
    images, _ = digits()
    _, _, diagnoses = scanned(net, images[:1].repeat(200, 1, 1, 1))
    assert named(diagnoses) == "repeated-inputs" and diagnoses[0].layer == "input"


def test_wrong_input_scale(net: nn.Sequential) -> None:
    images, labels = digits()
    _, verdict, diagnoses = scanned(net, images[:ITEMS] / 255, labels[:ITEMS])
    if verdict.kind is not None:  # BatchNorm-free nets with small biases cope with small inputs
        assert named(diagnoses) == "wrong-input-scale"
        assert "255" in diagnoses[0].change


def test_wrong_embedding_layer() -> None:
    net = nn.Sequential(*copy.deepcopy(trained(perceptron)), nn.Softmax(dim=1))
    net[-2].weight.data *= 20
    _, verdict, diagnoses = scanned(net)
    if verdict.kind is not None:
        assert named(diagnoses) == "wrong-embedding-layer" and "read at 5" in diagnoses[0].change


def test_depth_without_normalisation() -> None:
    torch.manual_seed(0)
    layers = [module for _ in range(14) for module in (nn.Linear(64, 64), nn.ReLU())]
    _, verdict, diagnoses = scanned(nn.Sequential(nn.Flatten(), *layers[:-1]))
    assert verdict.kind == "complete" and named(diagnoses) == "depth-without-normalisation"


def test_nothing_of_the_model_is_changed(net: nn.Sequential) -> None:
    net.get_submodule(weighted(net)[-1]).bias.data += 200
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    scanned(net)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())


def test_every_remedy_is_told_and_every_snippet_runs_where_it_is_meant_to() -> None:
    """Snippets run with what a user has at hand: the model, a batch, embeddings of it, a loader and a loss."""
    net = copy.deepcopy(trained(convolutional))
    images, labels = digits()
    batch = images[:64]
    net[4].running_var.fill_(1e8)
    net[11].bias.data += 100
    for module in (net, nn.Sequential(*net, nn.Softmax(dim=1))):
        _, _, diagnoses = scanned(module)
        assert diagnoses
        for diagnosis in diagnoses:
            assert diagnosis.remedies
            for remedy in diagnosis.remedies:
                model = copy.deepcopy(module).requires_grad_()
                embeddings = model(batch)
                names = {
                    "torch": torch, "model": model, "embeddings": embeddings, "loader": [(batch, labels[:64])],
                    "loss": embeddings.square().mean(), "first": embeddings, "second": embeddings,
                }  # fmt: skip
                exec(remedy.snippet, names)
                assert max(map(len, remedy.snippet.splitlines() or [""])) <= 76


@pytest.mark.parametrize("factor", [200.0, 1000.0])
def test_one_large_unit_is_a_rogue_dimension_and_no_low_rank(net: nn.Sequential, factor: float) -> None:
    net.get_submodule(weighted(net)[-1]).weight.data[7] *= factor
    _, verdict, diagnoses = scanned(net)
    assert verdict.kind == "dimensional"
    assert named(diagnoses) == "rogue-dimension"
    assert "low-rank-layer" not in {one.cause for one in diagnoses}


def test_units_that_are_alike_everywhere_come_before_the_low_rank_behind_them(net: nn.Sequential) -> None:
    for layer in weighted(net):
        net.get_submodule(layer).weight.data.fill_(0.02)
    _, _, diagnoses = scanned(net)
    assert diagnoses[0].cause == "constant-initialisation"
