"""Losses by name: their values against formulas written out, what names mean, and what cannot be computed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from collapsecheck.errors import UsageError
from collapsecheck.objectives import NotComputable, all_objectives, named, recorded, stated

CLASSES = torch.arange(24) % 4


def rows(seed: int = 0) -> Tensor:
    return torch.randn(24, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def point() -> Tensor:
    return torch.ones(24, 8, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("triplet", 0.2), ("batch-hard-triplet", 0.2), ("contrastive", 1.0), ("sup-con", math.log(23)),
        ("nt-xent", math.log(47)), ("cosine-bce", 0.8133), ("cross-entropy", math.log(4)), ("vicreg", 24.75),
        ("positive-cosine", -1.0), ("mse", 0.25 * 0.75),
    ],
)  # fmt: skip
def test_what_one_point_costs(name: str, value: float) -> None:
    assert float(stated(name)(point(), CLASSES, point())) == pytest.approx(value, rel=1e-3)


def test_triplets_against_loops() -> None:
    z, costs, hardest = rows(), [], []
    distance = torch.cdist(z, z)
    for a in range(24):
        alike = [p for p in range(24) if p != a and CLASSES[p] == CLASSES[a]]
        other = [n for n in range(24) if CLASSES[n] != CLASSES[a]]
        each = [max(float(distance[a, p] - distance[a, n]) + 0.2, 0) for p in alike for n in other]
        costs += [cost for cost in each if cost > 0]
        hardest.append(max(each))
    assert float(stated("triplet")(z, CLASSES)) == pytest.approx(sum(costs) / len(costs), rel=1e-6)
    assert float(stated("batch-hard-triplet")(z, CLASSES)) == pytest.approx(sum(hardest) / 24, rel=1e-6)


def test_bounded_cosines_against_loops() -> None:
    z = functional.normalize(rows(), dim=1)
    parts: dict[bool, list[float]] = {True: [], False: []}
    for i in range(24):
        for j in range(i):
            p = 1 / (1 + math.exp(-float(z[i] @ z[j])))
            same = bool(CLASSES[i] == CLASSES[j])
            parts[same].append(-math.log(p if same else 1 - p))
    wanted = sum(sum(each) / len(each) for each in parts.values()) / 2
    assert float(stated("cosine-bce")(rows(), CLASSES)) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("name", sorted(all_objectives()))
def test_every_loss_has_a_gradient_in_both_precisions(name: str) -> None:
    for wide in (torch.float32, torch.float64):
        z = rows().to(wide).requires_grad_()
        value = stated(name)(z, CLASSES, rows(1).to(wide))
        (gradient,) = torch.autograd.grad(value, z)
        assert value.ndim == 0 and bool(torch.isfinite(gradient).all()) and bool(gradient.abs().sum() > 0)


@pytest.mark.parametrize("name", sorted(all_objectives()))
def test_every_loss_says_what_it_is(name: str) -> None:
    kind = all_objectives()[name]
    assert kind.__doc__ and stated(name).id == name and name in stated(name).shown


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("TripletMarginLoss", "triplet"), ("BatchHardTripletLoss", "batch-hard-triplet"),
        ("ContrastiveLoss", "contrastive"), ("SupervisedContrastiveLoss", "sup-con"), ("InfoNCE", "nt-xent"),
        ("sigmoid-cosine", "cosine-bce"), ("nn.CrossEntropyLoss", "cross-entropy"), ("VICReg", "vicreg"),
        ("SimSiam", "positive-cosine"), ("MSELoss", "mse"), ("wasserstein", None),
    ],
)  # fmt: skip
def test_names_of_others(written: str, meant: str | None) -> None:
    kind = named(written)
    assert (kind().id if kind else None) == meant


def test_an_unknown_loss_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(UsageError, match=r"--loss circle: expected one of .*triplet.*FILE_OR_MODULE:CALLABLE"):
        stated("circle")


def test_a_loss_that_needs_labels_is_refused_without() -> None:
    with pytest.raises(UsageError, match=r"--loss triplet compares items by their classes.*--labels"):
        stated("triplet", labelled=False)
    assert stated("nt-xent", labelled=False)


def test_a_recorded_loss_is_left_out_where_it_cannot_be_had() -> None:
    assert recorded(None) is None and recorded("circle") is None and recorded("triplet", labelled=False) is None
    found = recorded("TripletMarginLoss", margin=0.7)
    assert found is not None and found.margin == 0.7


@pytest.mark.parametrize(
    ("classes", "reason"),
    [(torch.zeros(24, dtype=torch.long), "at least two classes"), (torch.arange(24), "two items")],
)
def test_classes_that_cannot_be_compared(classes: Tensor, reason: str) -> None:
    with pytest.raises(NotComputable, match=reason):
        stated("triplet")(rows(), classes)


def test_a_second_view_that_cannot_be_had() -> None:
    with pytest.raises(NotComputable, match="two views"):
        stated("vicreg")(rows(), None, None)


OWN = """
import torch
class Pairs(torch.nn.Module):
    def forward(self, rows, labels):
        return rows.square().mean()
def alone(rows): return rows.var(0).mean()
def both(rows, labels=None): return rows.mean()
def vector(rows): return rows.sum(1)
def number(rows): return 3.0
def raising(rows): raise ValueError("no\\nsecond line")
def detached(rows): return rows.detach().mean()
class Needs:
    def __init__(self, size): pass
not_callable = 3
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "losses.py"
    file.write_text(OWN)
    return file


@pytest.mark.parametrize(("name", "labels"), [("Pairs", True), ("alone", False), ("both", False)])
def test_a_loss_of_ones_own(own: Path, name: str, labels: bool) -> None:
    found = stated(f"{own}:{name}")
    assert found.needs_labels is labels and float(found(rows(), CLASSES)) == float(found(rows(), CLASSES))
    if labels:
        with pytest.raises(UsageError, match="no labels"):
            stated(f"{own}:{name}", labelled=False)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("vector", r"shape \[24\].*mean"), ("number", "float"), ("raising", "ValueError: no$"), ("detached", "detached")],
)
def test_a_loss_of_ones_own_that_is_none(own: Path, name: str, reason: str) -> None:
    with pytest.raises(NotComputable, match=reason):
        stated(f"{own}:{name}")(rows().requires_grad_(), CLASSES)


@pytest.mark.parametrize("name", ["Needs", "not_callable", "nothing"])
def test_a_loss_of_ones_own_that_cannot_be_made(own: Path, name: str) -> None:
    with pytest.raises(UsageError, match="--loss"):
        stated(f"{own}:{name}")


def test_the_head_is_the_same_whichever_system_is_solved() -> None:
    """Few items of many dimensions: the system between items has the solution of the one between dimensions."""
    from collapsecheck.objectives import heads

    z = torch.randn(24, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    centred, wanted = z - z.mean(0), functional.one_hot(CLASSES).double()
    gram = centred.T @ centred / 24 + heads.RIDGE * centred.square().mean() * torch.eye(40, dtype=torch.float64)
    head = torch.linalg.solve(gram, centred.T @ (wanted - wanted.mean(0)) / 24)
    expected = heads.SCALE * (centred @ head + wanted.mean(0))
    assert heads.class_scores(z, CLASSES, 4) == pytest.approx(expected, rel=1e-8)
