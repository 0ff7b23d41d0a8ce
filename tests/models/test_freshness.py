from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torchvision import models

from collapsecheck.models.freshness import Freshness, measure_freshness

ARCHITECTURES = [
    "resnet18", "mobilenet_v2", "efficientnet_b0", "densenet121", "vit_b_32", "swin_t", "convnext_tiny",
    "squeezenet1_1", "shufflenet_v2_x0_5", "mnasnet0_5", "regnet_y_400mf",
]  # fmt: skip


def built(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    module: nn.Module = models.get_model(name, weights=None)
    return module


def multilayer(kind: str, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    if kind != "default":
        for layer in model[::2]:
            if kind == "kaiming":
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
            else:
                nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
    return model


def train_on_digits(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    x, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
    random = torch.Generator().manual_seed(0)
    for _ in range(steps):
        chosen = torch.randint(0, len(x), (64,), generator=random)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[chosen]), y[chosen]).backward()
        optimizer.step()


# ---- fresh


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_fresh_models_of_torchvision_are_fresh_throughout(name: str) -> None:
    found = measure_freshness(built(name))
    assert (found.trained, found.share) == ((), 1.0)
    assert len(found.drawn) > 10
    assert all(one.p is not None and 0 < one.p <= 1 for one in found.drawn)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(64, 64), nn.Conv1d(16, 32, 5), nn.Conv3d(8, 16, 3), nn.ConvTranspose2d(16, 16, 4),
        nn.Conv2d(32, 64, 3, groups=2), nn.LSTM(32, 32), nn.GRU(40, 30), nn.Embedding(100, 64, padding_idx=0),
        nn.MultiheadAttention(48, 4), nn.TransformerEncoderLayer(32, 4), nn.Bilinear(40, 40, 40).half(),
        nn.Linear(64, 64).half(), nn.Linear(64, 64).bfloat16(), nn.Linear(64, 64).double(),
    ],
    ids=lambda layer: f"{type(layer).__name__} {next(layer.parameters()).dtype}",
)  # fmt: skip
def test_default_layers_of_torch(layer: nn.Module) -> None:
    with torch.no_grad():
        for one in layer.modules():
            if hasattr(one, "reset_parameters"):
                torch.manual_seed(1)
                one.reset_parameters()
    found = measure_freshness(layer)
    assert found.trained == ()
    assert found.drawn or isinstance(layer, nn.Bilinear)  # of which nothing is known
    assert not found.drawn or "default" in found.drawn[0].like or "hidden" in found.drawn[0].like


def test_one_fresh_model_in_a_hundred_has_a_tensor_that_is_taken_for_trained() -> None:
    """The level is 1 % for a model; 300 have 3 such, and more than 9 with probability 0.001."""
    wrong = 0
    for seed in range(300):
        wrong += bool(measure_freshness(multilayer("default", seed)).trained)
    assert wrong <= 9


def test_constants_are_said_to_be_constants() -> None:
    found = measure_freshness(nn.BatchNorm2d(64))
    assert [one.name for one in found.constant] == ["weight", "bias", "running_mean", "running_var"]
    assert (found.drawn, found.share) == ((), None)


# ---- trained


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("kind", "rate", "steps"),
    [("default", 1e-3, 10), ("default", 1e-4, 10), ("normal", 1e-3, 30), ("normal", 1e-4, 100)],
)
def test_a_few_steps_of_adam_are_seen(kind: str, rate: float, steps: int, seed: int) -> None:
    model = multilayer(kind, seed)
    train_on_digits(model, torch.optim.Adam(model.parameters(), rate), steps)
    found = measure_freshness(model)
    assert (found.drawn, found.share) == ((), 0.0)
    assert {"0.weight", "2.weight"} <= set(found.trained)


def test_wide_normal_draws_hide_a_few_steps() -> None:
    """What the docstring admits: updates far below the deviation of a normal draw cannot be seen."""
    model = multilayer("kaiming", 0)
    train_on_digits(model, torch.optim.Adam(model.parameters(), 1e-4), 10)
    assert measure_freshness(model).share == 1.0


def test_what_was_not_loaded_stands_out() -> None:
    model = multilayer("default", 0)
    train_on_digits(model, torch.optim.Adam(model.parameters(), 1e-3), 100)
    model[2].reset_parameters()
    found = measure_freshness(model)
    assert [one.name for one in found.drawn] == ["2.weight"]
    assert found.share == pytest.approx(128 * 128 / (128 * 128 + 64 * 128 + 128 * 10))


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w * 1.05,
        lambda w: w + 0.003,
        lambda w: w.sign() * w.abs().max(),
        lambda w: torch.where(torch.rand_like(w) < 0.01, w * 3, w),
        lambda w: w + 0.3 / 8 * torch.outer(torch.ones(len(w)), torch.linspace(-1, 1, w.shape[1])),
        lambda w: torch.full_like(w, math.nan),
        lambda w: torch.where(torch.rand_like(w) < 0.001, math.inf, w),
        torch.zeros_like,
    ],
    ids=["wider", "shifted", "binary", "outliers", "rank one", "NaN", "Inf", "zero"],
)
def test_what_no_initialiser_would_draw(change: object) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(128, 128, bias=False)
    with torch.no_grad():
        nn.init.normal_(layer.weight, std=0.02)
        assert measure_freshness(layer).share == 1.0
        layer.weight.copy_(change(layer.weight))  # type: ignore[operator]
    assert measure_freshness(layer).drawn == ()


# ---- nothing to see


@pytest.mark.parametrize("module", [nn.Identity(), nn.Linear(2, 2), nn.LazyLinear(3), nn.Linear(64, 64, device="meta")])
def test_too_little_to_tell(module: nn.Module) -> None:
    found = measure_freshness(module)
    assert isinstance(found, Freshness)
    assert (found.drawn, found.trained, found.share) == ((), (), None)


def test_tied_weights_are_tested_once() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(64, 64), nn.Linear(64, 64, bias=False))
    model[1].weight = model[0].weight
    assert [one.name for one in measure_freshness(model).drawn] == ["0.weight"]
