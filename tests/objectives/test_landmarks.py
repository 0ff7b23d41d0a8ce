"""What losses ask of embeddings: which of them are cheapest in one point, inverted, bounded."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from collapsecheck.objectives import all_objectives, stated
from collapsecheck.objectives.constants import meanings
from collapsecheck.objectives.landmarks import Landmarks, landmarks

LABELS = torch.arange(64) % 8
OWN = """
import torch
from torch.nn import functional as F
def alike(y): return y[:, None] == y[None]
def right(z, y):
    d = torch.cdist(z, z)
    return torch.where(alike(y), d**2, torch.relu(1 - d)**2).mean()
def inverted(z, y):
    d = torch.cdist(z, z)
    return torch.where(alike(y), torch.relu(1 - d)**2, d**2).mean()
def bounded(z, y):
    u = F.normalize(z, dim=1)
    return F.binary_cross_entropy(torch.sigmoid(u @ u.T), alike(y).to(u))
def scaled(z, y):
    u = F.normalize(z, dim=1)
    return F.binary_cross_entropy_with_logits(10 * u @ u.T - 5, alike(y).to(u))
def smooth(z, y): return F.cross_entropy(z, y, label_smoothing=0.1)
def attracting(z): return z.var(0).mean()
def centre(z): return (z - 1).square().sum(1).mean()
def uniform(z): return torch.pdist(F.normalize(z, dim=1)).pow(2).mul(-2).exp().mean().log()
def bottomless(z): return -z.norm()
def broken(z): raise ValueError
"""


def asked(name: str, seed: int = 0) -> Landmarks:
    objective = stated(name)
    rows = torch.randn(64, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return landmarks(objective, rows, LABELS, rows.clone() if objective.VIEWS else None)


@pytest.mark.parametrize("name", sorted(set(all_objectives()) - {"spread"}))
def test_named_losses(name: str) -> None:
    found = asked(name)
    assert found.attracted is (name == "positive-cosine")
    assert found.bounded is (name == "cosine-bce")
    assert not (stated(name).needs_labels and found.inverted)
    assert found.floor <= found.one_point and found.floor <= found.apart


def test_the_floor_of_a_sigmoid_of_a_cosine() -> None:
    found = asked("cosine-bce")
    assert found.alike == pytest.approx(0.3133, abs=1e-4) and found.different == pytest.approx(0.3133, abs=1e-4)
    assert found.one_point == pytest.approx(0.8133, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "attracted", "inverted", "bounded"),
    [
        ("right", False, False, False), ("inverted", True, True, False), ("bounded", False, False, True),
        ("scaled", False, False, False), ("smooth", False, False, False), ("attracting", True, None, False),
        ("centre", True, None, False), ("uniform", False, None, False), ("bottomless", False, None, False),
    ],
)  # fmt: skip
def test_losses_of_ones_own(tmp_path: Path, name: str, attracted: bool, inverted: bool | None, bounded: bool) -> None:
    file = tmp_path / "losses.py"
    file.write_text(OWN)
    for seed in range(2):
        found = asked(f"{file}:{name}", seed)
        assert (found.attracted, found.bounded) == (attracted, bounded)
        assert inverted is None or found.inverted is inverted


def test_a_loss_that_fails_has_no_landmarks(tmp_path: Path) -> None:
    file = tmp_path / "losses.py"
    file.write_text(OWN)
    found = asked(f"{file}:broken")
    assert math.isnan(found.one_point) and not (found.attracted or found.inverted or found.bounded)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (0.8133, "sigmoid"), (0.3133, "least"), (0.69315, "ln 2"), (2.3026, "ln 10"), (0.2, "margin 0.2"),
        (-1.0, "cosine"), (0.0, "exactly 0"), (4.852, "ln 128"), (5.541, "NT-Xent over a batch of 128"),
    ],
)  # fmt: skip
def test_values_that_give_a_collapse_away(value: float, word: str) -> None:
    assert word in next(meanings(value, classes=10))


@pytest.mark.parametrize("value", [0.0423, 0.77, 1.31, 3.3, 17.2, 0.131])
def test_values_like_any_other(value: float) -> None:
    assert not list(meanings(value, classes=10))


def test_a_margin_that_is_told_is_the_only_one() -> None:
    assert list(meanings(0.35, margin=0.35)) and not list(meanings(0.2, margin=0.35))
