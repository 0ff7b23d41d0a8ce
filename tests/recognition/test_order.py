from __future__ import annotations

import pytest

from collapsecheck.recognition.alignment import Shapes
from collapsecheck.recognition.index import Index
from collapsecheck.recognition.match import Match
from collapsecheck.recognition.matching import matches
from collapsecheck.recognition.order import matches_in_order
from tests.recognition.conftest import published


def other_names(shapes: Shapes, prefix: str = "") -> dict[str, tuple[int, ...] | None]:
    """Each module under a number, in order; what its tensors are called stays."""
    modules: dict[str, int] = {}
    renamed = {}
    for name, shape in shapes.items():
        module, _, last = name.rpartition(".")
        renamed[f"{prefix}m{modules.setdefault(module, len(modules))}.{last}"] = shape
    return renamed


def only(shapes: Shapes, index: Index) -> Match:
    assert [match for match in matches(shapes, index) if match.sound] == []
    (match,) = matches_in_order(shapes, index)
    return match


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121", "vit_b_16", "efficientnet_b0"])
def test_other_names_in_the_same_order(index: Index, name: str) -> None:
    given = other_names(published(name))
    found = only(given, index)
    assert (found.name, found.kind, found.classes, found.headless) == (name, "given-order", None, "")
    assert [found.renamed[old] for old in given] == list(published(name))


def test_every_model_is_none_or_itself(index: Index) -> None:
    for known in index.known:
        names = {match.name for match in matches_in_order(other_names(known.tensors), index)}
        assert names <= {known.name} or known.name in names


@pytest.mark.parametrize(
    ("change", "classes", "channels", "headless"),
    [
        ({"fc.weight": (10, 512), "fc.bias": (10,)}, 10, None, ""),
        ({"fc.weight": None, "fc.bias": None}, None, None, "fc"),
        ({"conv1.weight": (64, 1, 7, 7)}, None, 1, ""),
        ({"fc.weight": (128, 512), "fc.bias": None, "z.weight": (4, 128)}, None, None, "fc"),
    ],
)
def test_what_users_change(
    index: Index, change: Shapes, classes: int | None, channels: int | None, headless: str
) -> None:
    shapes = {name: shape for name, shape in {**published("resnet18"), **change}.items() if shape is not None}
    found = only(other_names(shapes), index)
    assert (found.name, found.classes, found.channels, found.headless) == ("resnet18", classes, channels, headless)


@pytest.mark.parametrize(
    "change",
    [
        {"layer4.1.conv2.weight": None},
        {"conv1.weight": (64, 3, 3, 3)},
        {"bn1.weight": (65,)},
        {"decoder.weight": (512, 256, 3, 3)},
    ],
)
def test_one_difference_makes_it_another_model(index: Index, change: Shapes) -> None:
    shapes = {name: shape for name, shape in {**published("resnet18"), **change}.items() if shape is not None}
    assert matches_in_order(other_names(shapes), index) == []


def test_another_order_is_another_model(index: Index) -> None:
    backwards = dict(reversed(list(published("resnet18").items())))
    assert matches_in_order(other_names(backwards), index) == []


def test_parts_of_another_name_are_not_the_same(index: Index) -> None:
    """Where weight and bias changed places, shapes of normalisations would not tell."""
    swapped = {name.replace("weight", "scale"): shape for name, shape in other_names(published("resnet18")).items()}
    assert matches_in_order(swapped, index) == []


def test_modules_that_do_not_correspond(index: Index) -> None:
    """Two layers that became one, or one that became two, are no renaming."""
    shapes = other_names(published("resnet18"))
    merged = {name.replace("m1.", "m0.") if "running" in name else name: shape for name, shape in shapes.items()}
    assert matches_in_order(merged, index) == []
    split = {name.replace("m1.b", "m999.b"): shape for name, shape in shapes.items()}
    assert matches_in_order(split, index) == []
    one = {f"m{number // 40}.{number}.weight": (2, 2) for number in range(80)}
    assert matches_in_order(one, index) == []


def test_an_encoder_beside_a_projector(index: Index) -> None:
    trunk = {name: shape for name, shape in published("resnet50").items() if not name.startswith("fc.")}
    found = only({**other_names(trunk, "f."), "g.0.weight": (512, 2048), "g.1.weight": (512,)}, index)
    assert (found.name, found.headless) == ("resnet50", "fc")
    assert set(found.foreign) | set(found.outside) == {"g."}


def test_short_sequences_are_no_proof(index: Index) -> None:
    assert matches_in_order(other_names(published("alexnet")), index) == []
