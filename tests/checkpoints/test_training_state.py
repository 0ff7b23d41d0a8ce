from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from collapsecheck.checkpoints import HeldTensor, ModuleRecord, Name, Stand, read_checkpoint
from collapsecheck.checkpoints.state_dicts import Found, find_state_dicts
from collapsecheck.checkpoints.training_state import TrainingState, read_training_state

Save = Callable[[Any], Path]


class Net(nn.Module):
    """The last layer is never used, the middle one multiplies by zero: no gradient, and one that is exactly zero."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.blocked = nn.Linear(4, 4)
        self.head = nn.Linear(3, 2)
        self.unused = nn.Linear(7, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.first(x)).mean((2, 3))
        return self.head(x) + 0.0 * self.blocked(torch.ones(len(x), 4)).sum()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    torch.manual_seed(0)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 1, 6, 6)).square().mean().backward()
        optimizer.step()


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def inner(content: Any) -> Path:
        path = tmp_path / "model.pt"
        torch.save(content, path)
        return path

    return inner


def read(path: Path, **options: Any) -> TrainingState:
    content = read_checkpoint(path).content
    found: Found | None = find_state_dicts(content) if "model" in content or "state_dict" in content else None
    return read_training_state(content, found, **options)


# ---- optimisers

ALL_KINDS = [
    name
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
]


@pytest.mark.parametrize("name", ALL_KINDS)
def test_every_kind_of_torch_is_told_by_its_settings(save: Save, name: str) -> None:
    weight = nn.Parameter(torch.ones(3, 3))
    optimizer = getattr(torch.optim, name)([weight], lr=0.25)
    weight.grad = torch.ones(3, 3).to_sparse() if name == "SparseAdam" else torch.ones(3, 3)
    optimizer.step(lambda: torch.ones(())) if name == "LBFGS" else optimizer.step()
    (found,) = read(save({"optimizer": optimizer.state_dict()})).optimisers
    assert found.kind == name
    assert found.groups[0].settings["lr"] == 0.25


def test_adam_of_older_versions_may_be_either() -> None:
    group = {"lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False, "params": [0]}
    (found,) = read_training_state({"optimizer": {"state": {}, "param_groups": [group]}}).optimisers
    assert found.kind == "Adam or AdamW"


@pytest.mark.parametrize(
    ("settings_of", "kind"),
    [
        ({"lr": 1, "betas": (0.9, 0.99), "weight_decay": 0}, "Lion"),
        ({"lr": 1, "momentum": 0.9, "weight_decay": 0, "trust_coefficient": 0.001}, "LARS"),
        ({"lr": 1, "betas": (0.9, 0.99), "eps": 1e-6, "weight_decay": 0, "max_grad_norm": 1.0}, "LAMB"),
        ({"lr": 1}, None),
    ],
)
def test_kinds_of_other_packages(settings_of: dict[str, Any], kind: str | None) -> None:
    state = {"state": {}, "param_groups": [{**settings_of, "params": [0]}]}
    assert read_training_state({"opt": state}).optimisers[0].kind == kind


def test_parameters_without_a_gradient_are_named(save: Save) -> None:
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    train(model, optimizer)
    (found,) = read(save({"model": model.state_dict(), "optimizer": optimizer.state_dict()})).optimisers
    assert [found.names[one] for one in found.without_state] == ["unused.weight", "unused.bias"]
    assert (found.parameters, found.with_state, found.steps, found.keeps_state) == (10, 8, (3.0, 3.0), True)
    assert found.kept == ("step", "exp_avg", "exp_avg_sq")


def test_names_follow_groups_of_matrices_and_vectors(save: Save) -> None:
    model = Net()
    parameters = list(model.parameters())
    groups = [
        {"params": [one for one in parameters if one.dim() > 1], "weight_decay": 0.1},
        {"params": [one for one in parameters if one.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups)
    train(model, optimizer)
    (found,) = read(save({"model": model.state_dict(), "optimizer": optimizer.state_dict()})).optimisers
    truth = {id(one): name for name, one in model.named_parameters()}
    order = [truth[id(one)] for group in optimizer.param_groups for one in group["params"]]
    assert [found.names[number] for number in range(10)] == order
    assert [group.parameters for group in found.groups] == [4, 6]


@pytest.mark.parametrize("change", ["one more", "another order"])
def test_no_names_where_counts_or_shapes_disagree(save: Save, change: str) -> None:
    model = Net()
    parameters = list(model.parameters())
    parameters = [*parameters, nn.Parameter(torch.ones(2))] if change == "one more" else parameters[::-1]
    optimizer = torch.optim.Adam(parameters)
    train(model, optimizer)
    (found,) = read(save({"model": model.state_dict(), "optimizer": optimizer.state_dict()})).optimisers
    assert found.names == {}


def test_tied_weights_count_once(save: Save) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    model[1].weight = model[0].weight
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    (found,) = read(save({"model": model.state_dict(), "optimizer": optimizer.state_dict()})).optimisers
    assert list(found.names.values()) == ["0.weight", "0.bias", "1.bias", "2.weight", "2.bias"]


def test_sgd_without_momentum_keeps_no_state(save: Save) -> None:
    model = Net()
    for momentum, keeps in ((0.0, False), (0.9, True)):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum)
        train(model, optimizer)
        (found,) = read(save({"model": model.state_dict(), "optimizer": optimizer.state_dict()})).optimisers
        assert found.keeps_state is keeps
        assert len(found.without_state) == (2 if keeps else 10)


def test_the_places_of_optimisers(save: Save) -> None:
    state = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1).state_dict()
    assert [one.key for one in read(save(state)).optimisers] == [""]
    assert [one.key for one in read(save({"optimizer_states": [state, state]})).optimisers] == ["optimizer_states.0"]
    copy = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1).state_dict()
    both = {"optimizers": {"gen": state, "disc": copy}}
    assert [one.key for one in read(save(both)).optimisers] == ["optimizers.gen", "optimizers.disc"]


# ---- moments


def test_moments_are_those_that_adam_holds(save: Save) -> None:
    model = Net().double()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    torch.manual_seed(0)
    for _ in range(5):
        optimizer.zero_grad()
        x = model.norm(model.first(torch.randn(8, 1, 6, 6).double())).mean((2, 3))
        (model.head(x).square().mean() + 0 * model.blocked(torch.ones(1, 4).double()).sum()).backward()
        optimizer.step()
    path = save({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    assert read(path).moments == ()
    (moments,) = read(path, moments=True).moments
    by_name = {one.name: one for one in moments}
    assert [one.name for one in moments if one.always_zero] == ["blocked.weight", "blocked.bias"]

    held = optimizer.state[model.head.weight]
    found = by_name["head.weight"]
    first, second = held["exp_avg"] / (1 - 0.9**5), held["exp_avg_sq"] / (1 - 0.999**5)
    assert found.mean_gradient_rms == pytest.approx(float(first.square().mean().sqrt()))
    assert found.gradient_rms == pytest.approx(float(second.mean().sqrt()))
    update = 1e-3 * first / (second.sqrt() + 1e-8)
    assert found.relative_update == pytest.approx(float(update.norm() / model.head.weight.detach().norm()))
    assert (found.always_zero, found.zero_share, found.finite, found.elements) == (False, 0.0, True, 6)
    assert by_name["blocked.weight"].zero_share == 1.0


def test_sums_go_over_all_chunks(save: Save) -> None:
    n = (1 << 20) * 2 + 3
    state = {0: {"step": torch.tensor(1.0), "exp_avg": torch.full((n,), 0.5), "exp_avg_sq": torch.full((n,), 0.25)}}
    content = {"optimizer": {"state": state, "param_groups": [{"lr": 0.1, "params": [0]}]}}
    ((found,),) = read(save(content), moments=True).moments
    assert (found.elements, found.mean_gradient_rms, found.gradient_rms) == (n, 0.5, 0.5)
    assert found.relative_update is None  # no weights to hold it against


def test_moments_that_are_not_finite_are_said_to_be(save: Save) -> None:
    state = {0: {"exp_avg": torch.tensor([1.0, math.nan]), "exp_avg_sq": torch.tensor([math.inf, 1.0])}}
    content = {"optimizer": {"state": state, "param_groups": [{"lr": math.inf, "betas": "x", "params": [0]}]}}
    ((found,),) = read(save(content), moments=True).moments
    assert (found.finite, found.gradient_rms, found.mean_gradient_rms) == (False, None, None)


# ---- the rest


def test_lightning(save: Save) -> None:
    optimizer = torch.optim.Adam([nn.Parameter(torch.ones(2))], lr=0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    found = read(
        save({
            "epoch": 4, "global_step": 20, "pytorch-lightning_version": "2.5.1", "state_dict": {"w": torch.ones(2)},
            "hyper_parameters": {"lr": 0.5, "layers": [1, 2], "name": "net"}, "lr_schedulers": [scheduler.state_dict()],
            "optimizer_states": [optimizer.state_dict()],
            "MixedPrecision": {"scale": 65536.0, "growth_factor": 2.0},
        })
    )  # fmt: skip
    assert (found.epoch, found.step, found.lightning_version) == (4, 20, "2.5.1")
    assert found.hyper_parameters == {"hyper_parameters": {"lr": 0.5, "layers": [1, 2], "name": "net"}}
    assert [(one.key, one.last_epoch, one.last_rates) for one in found.schedulers] == [("lr_schedulers.0", 0, (0.5,))]
    assert found.scaler["scale"] == 65536.0


@pytest.mark.parametrize("name", ["global_step", "step", "iteration", "iter"])
def test_steps_have_many_names(name: str) -> None:
    assert read_training_state({name: 7}).step == 7


def test_moving_averages_are_mentioned(save: Save) -> None:
    weights = {"w": torch.ones(2)}
    assert read(save({"model": weights, "ema_state_dict": {"w": torch.ones(2)}})).averaged == ("ema_state_dict",)


def test_running_statistics(save: Save) -> None:
    def state(model: nn.Module) -> TrainingState:
        return read(save({"model": model.state_dict()}))

    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    assert [(one.name, one.never_updated, one.batches) for one in state(model).running_statistics] == [("1", True, 0)]
    model(torch.randn(4, 1, 5, 5))
    assert [(one.name, one.never_updated, one.batches) for one in state(model).running_statistics] == [("1", False, 1)]
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert state(nn.BatchNorm1d(2).to(dtype)).running_statistics[0].initial is True, dtype


def test_running_statistics_of_safetensors_are_read_without_torch(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model(torch.randn(4, 2))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    content = read_checkpoint(tmp_path / "model.safetensors").content
    (found,) = read_training_state(content, find_state_dicts(content)).running_statistics
    assert (found.batches, found.initial) == (1, False)


def test_nothing_is_known_of_bare_weights(save: Save) -> None:
    assert not read(save({"w": torch.ones(2, 2)})).known


# ---- hostile


def endless() -> dict[str, Any]:
    content: dict[str, Any] = {"epoch": "x" * 10_000_000, "optimizer": {"param_groups": []}}
    content["args"] = content
    content["state"] = [content]
    stand = Stand(path="a.Namespace", state={})
    stand.state["self"] = stand
    content["config"] = stand
    return content


HOSTILE: dict[str, Any] = {
    "contains itself": endless(),
    "strings for numbers": {
        "epoch": "four", "optimizer": {"state": {0: {"step": "x"}}, "param_groups": [{"lr": "high", "params": "abc"}]}
    },
    "many groups": {"optimizer": {"state": {}, "param_groups": [{"lr": i, "params": []} for i in range(100_000)]}},
    "many settings": {"optimizer": {"state": {}, "param_groups": [{str(i): i for i in range(100_000)}]}},
    "groups of nothing": {"optimizer": {"state": None, "param_groups": [None, 3, {"params": [[1], {}, None]}]}},
    "wide": {"args": {str(i): list(range(1000)) for i in range(1000)}},
    "huge numbers": {"epoch": 10**5000, "global_step": math.nan, "args": {"x": 10**5000, "y": -math.inf}},
    "moments of two shapes": {
        "optimizer": {
            "state": {0: {"exp_avg": HeldTensor(dtype="float32", shape=(1,), content=b"\0" * 4),
                          "exp_avg_sq": HeldTensor(dtype="float32", shape=(2,), content=b"\0" * 8)},
                      1: {"exp_avg": HeldTensor(dtype="int64", shape=(1,), content=b"\0" * 8)}},
            "param_groups": [{"params": [0, 0, 1], "betas": (1.0, 5.0), "lr": 1, "eps": -1}],
        }
    },
    "records everywhere": {
        "optimizer": Stand(path="a.B", state={"param_groups": [{"params": [0]}], "state": {}}),
        "lr_scheduler": Stand(path="a.C", state={"last_epoch": 3}),
        "args": Stand(path="a.Namespace", state={"x": Name("os.system"), "y": Stand(path="a.D")}),
        "config": ModuleRecord(path="a.M", attributes={}, parameters={}, buffers={}, children={}),
    },
}  # fmt: skip


@pytest.mark.parametrize("content", HOSTILE.values(), ids=list(HOSTILE))
def test_whatever_it_says_is_contained(content: dict[str, Any]) -> None:
    found = read_training_state(content, moments=True)
    assert len(repr(found)) < 2_000_000
    for one in found.optimisers:
        assert len(one.groups) <= 50


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["state", "param_groups", "params", "lr", "betas", "epoch", "last_epoch", "_last_lr", "scale"]
            )
            | st.integers(0, 3),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["optimizer", "lr_schedulers", "args", "scaler", "step", "trainer"]), anything))
def test_nothing_plain_breaks_it(content: dict[str, Any]) -> None:
    assert read_training_state(content, moments=True).averaged == ()
