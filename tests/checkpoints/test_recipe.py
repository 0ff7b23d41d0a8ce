from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest
import torch
from torch import nn

from collapsecheck.checkpoints import read_checkpoint
from collapsecheck.checkpoints.recipe import Recipe, recipe_of
from collapsecheck.checkpoints.training_state import read_training_state


def recipe(tmp_path: Any, content: Any) -> Recipe:
    torch.save(content, tmp_path / "m.pt")
    return recipe_of(read_training_state(read_checkpoint(tmp_path / "m.pt").content))


def stepped(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Any]:
    model(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def test_the_optimiser_tells_rate_decay_and_kind(tmp_path: Any) -> None:
    model = nn.Linear(4, 2)
    groups = [{"params": [model.weight], "lr": 0.3}, {"params": [model.bias], "lr": 0.1, "weight_decay": 0.0}]
    state = stepped(torch.optim.Adam(groups, weight_decay=0.05), model)
    found = recipe(tmp_path, {"model": model.state_dict(), "optimizer": state, "loss": 0.693, "step": 7})
    assert (found.rate, found.weight_decay, found.last_loss, found.steps) == (0.3, 0.05, pytest.approx(0.693), 1)
    assert found.adaptive


@pytest.mark.parametrize("make", [dict, Namespace, lambda **given: {"train": given}])
def test_without_an_optimiser_hyper_parameters_do(tmp_path: Any, make: Any) -> None:
    settings = make(lr=3e-2, weight_decay=1e-4, loss_type="Triplet-Loss", margin=0.2)
    found = recipe(tmp_path, {"state_dict": nn.Linear(4, 2).state_dict(), "hyper_parameters": settings})
    assert (found.rate, found.weight_decay, found.margin) == (3e-2, 1e-4, 0.2)
    assert found.speaks_of("tripletloss")
    assert not found.speaks_of("contrastive")
    assert not found.adaptive  # nothing tells


def test_sgd_moves_by_its_gradient(tmp_path: Any) -> None:
    model = nn.Linear(4, 2)
    state = stepped(torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9), model)
    assert not recipe(tmp_path, {"model": model.state_dict(), "optimizer": state}).adaptive


@pytest.mark.parametrize("content", [{"weight": torch.ones(2)}, {"w": torch.ones(2), "loss": "low", "lr": []}])
def test_bare_weights_tell_nothing(tmp_path: Any, content: Any) -> None:
    assert recipe(tmp_path, content) == Recipe()


def test_what_the_user_says_goes_before() -> None:
    told = Recipe(loss="contrastive", margin=1.0, rate=0.1)
    assert told.stated() == told
    assert told.stated(loss="triplet", margin=0.0) == Recipe(loss="triplet", margin=0.0, rate=0.1)


def test_the_name_of_a_loss_is_fit_to_be_shown(tmp_path: Any) -> None:
    found = recipe(tmp_path, {"w": torch.ones(2), "hparams": {"loss": "triplet\x1b[31m\n" + "x" * 10_000}})
    assert found.loss is not None
    assert found.loss.isprintable()
    assert len(found.loss) <= 70
    assert found.speaks_of("triplet")
    assert len(Recipe().stated(loss="y" * 1000).loss or "") <= 70
