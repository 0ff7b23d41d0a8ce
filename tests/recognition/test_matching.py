from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapsecheck.models.drawing.build_index import Drawn, numbered
from collapsecheck.models.weights import expected_shapes
from collapsecheck.recognition.alignment import Shapes
from collapsecheck.recognition.class_count import ClassAxis
from collapsecheck.recognition.index import Index, Known, shipped
from collapsecheck.recognition.match import Match
from collapsecheck.recognition.matching import matches
from collapsecheck.recognition.order import matches_in_order
from tests.recognition.conftest import published
from tests.recognition.relatives import RELATIVES, skeleton

TWINS = {"fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_mobilenet_v3_large_320_fpn"}


def sound(shapes: Shapes, index: Index) -> list[Match]:
    return [match for match in matches(shapes, index) if match.sound]


def only(shapes: Shapes, index: Index) -> Match:
    (match,) = sound(shapes, index)
    return match


def as_published(index: Index) -> dict[str, Known]:
    return {one.name: one for one in reversed(index.known)}


def prefixed(prefix: str, shapes: Shapes) -> dict[str, tuple[int, ...] | None]:
    return {prefix + name: shape for name, shape in shapes.items()}


def beheaded(known: Known) -> Shapes:
    return {name: shape for name, shape in known.tensors.items() if name.partition(".")[0] != known.heads[-1]}


@pytest.mark.parametrize("wrap", ["", "module.", "model._orig_mod.", "backbone."])
def test_every_model_as_published(index: Index, wrap: str) -> None:
    right = 0
    for name, known in as_published(index).items():
        found = {match.name for match in sound(prefixed(wrap, known.tensors), index)}
        assert found == (TWINS if name in TWINS else {name})
        right += len(found) == 1
    assert right >= 100


def test_every_classifier_with_ten_classes(index: Index) -> None:
    right = 0
    for name, known in as_published(index).items():
        if known.heads:
            found = only(known.with_classes(10), index)
            assert (found.name, found.kind, found.classes) == (name, "head-changed", 10)
            right += 1
    assert right >= 80


def test_every_classifier_without_its_head_beside_a_projector(index: Index) -> None:
    for name, known in as_published(index).items():
        if known.heads:
            shapes = {**prefixed("backbone.", beheaded(known)), "projector.0.weight": (128, 77)}
            found = only(shapes, index)
            assert (found.name, found.headless, found.outside) == (name, known.heads[-1], ("projector.",))


@pytest.mark.parametrize("channels", [1, 4])
def test_every_classifier_with_other_channels(index: Index, channels: int) -> None:
    for name, known in as_published(index).items():
        if known.stem is not None:
            shape = known.tensors[known.stem]
            found = only({**known.tensors, known.stem: (shape[0], channels, *shape[2:])}, index)
            assert (found.name, found.kind, found.channels) == (name, "stem-changed", channels)


def test_a_query_takes_less_than_50_ms(index: Index) -> None:
    only(published("resnet18"), index)
    taken = []
    for known in index.known:
        begin = time.process_time()
        matches(known.tensors, index)
        taken.append(time.process_time() - begin)
    assert median(taken) < 0.05


@pytest.mark.parametrize("name", RELATIVES)
def test_relatives_are_not_taken_for_published_models(index: Index, name: str) -> None:
    shapes = expected_shapes(skeleton(name))
    assert sound(shapes, index) == []
    assert matches_in_order(shapes, index) == []


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"layer1.0.conv1.weight": None}, "layer1.0.conv1.weight is missing"),
        ({"conv1.weight": (64, 3, 3, 3)}, "conv1.weight is 64×3×3×3, not 64×3×7×7"),
        ({"layer1.0.gate.weight": (64, 64)}, "there is also layer1.0.gate.weight"),
        ({"attention.weight": (1, 2, 7, 7)}, "there is also attention.weight"),
        ({"conv1.weight": (64, 0, 7, 7)}, "conv1.weight is 64×0×7×7, not 64×3×7×7"),
        ({"bn1.weight": (65,)}, "bn1.weight is 65, not 64"),
    ],
)
def test_one_difference_makes_it_another_model(
    index: Index, change: Mapping[str, tuple[int, ...] | None], differs: str
) -> None:
    shapes = {name: shape for name, shape in {**published("resnet18"), **change}.items() if shape is not None}
    (near,) = matches(shapes, index)
    assert (near.name, near.kind, near.differs) == ("resnet18", "partial", differs)


HEADS: dict[str, tuple[dict[str, tuple[int, ...]], str, tuple[str, ...], int | None]] = {
    "mlp": ({"fc.0.weight": (512, 512), "fc.2.weight": (128, 512)}, "fc", ("fc.",), None),
    "without bias": ({"fc.weight": (128, 512)}, "fc", ("fc.",), None),
    "of another input": ({"fc.weight": (10, 999), "fc.bias": (10,)}, "fc", ("fc.",), None),
    "of one class": ({"fc.weight": (1, 512), "fc.bias": (1,)}, "", (), 1),
    "none": ({}, "fc", (), None),
    "and a projector": (
        {"fc.weight": (1000, 512), "fc.bias": (1000,), "head.0.weight": (64, 9), "temperature": ()},
        "",
        ("head.", "temperature"),
        None,
    ),
}


@pytest.mark.parametrize("head", HEADS)
def test_heads_of_the_users_own(index: Index, head: str) -> None:
    given, headless, foreign, classes = HEADS[head]
    trunk = {name: shape for name, shape in published("resnet18").items() if not name.startswith("fc.")}
    found = only({**trunk, **given}, index)
    assert (found.name, found.headless, found.foreign, found.classes) == ("resnet18", headless, foreign, classes)


def test_a_head_of_convolutions_is_a_decoder(index: Index) -> None:
    trunk = {name: shape for name, shape in published("resnet18").items() if not name.startswith("fc.")}
    assert sound({**trunk, "fc.0.weight": (64, 512, 3, 3)}, index) == []


def test_only_the_last_layer_of_a_head_may_be_missing(index: Index) -> None:
    shapes = {name: shape for name, shape in published("vgg11").items() if not name.startswith("classifier.6.")}
    assert only(shapes, index).headless == "classifier.6"


def test_two_encoders_in_one_file(index: Index) -> None:
    resnet = published("resnet18")
    shapes = {
        **prefixed("module.encoder_q.", resnet),
        **prefixed("module.encoder_k.", resnet),
        "module.queue": (128, 9),
    }
    found = only(shapes, index)
    assert (found.name, found.prefix, found.outside) == ("resnet18", "encoder_q.", ("encoder_k.", "queue"))


def test_an_encoder_deep_inside(index: Index) -> None:
    shapes = {**prefixed("model.net.", published("resnet18")), "model.head.weight": (3, 3), "loss.weight": (2,)}
    found = only(shapes, index)
    assert (found.prefix, found.outside) == ("model.net.", ("model.head.", "loss."))


def test_auxiliary_heads_and_image_sizes(index: Index) -> None:
    googlenet = published("googlenet")
    without = {name: shape for name, shape in googlenet.items() if not name.startswith("aux")}
    assert only(without, index).kind == "exact"
    half = {name: shape for name, shape in googlenet.items() if not name.startswith("aux2")}
    assert sound(half, index) == []
    vit = {**published("vit_b_16"), "encoder.pos_embedding": (1, 577, 768)}
    assert only(vit, index).resized
    assert sound({**vit, "encoder.pos_embedding": (1, 577, 769)}, index) == []


def test_counters_do_not_matter(index: Index) -> None:
    extra = {"bn1.num_batches_tracked": (), "layer1.total_ops": (1,), "n_averaged": ()}
    assert only({**published("resnet18"), **extra}, index).kind == "exact"


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(max_size=20), st.none() | st.lists(st.integers(0, 9), max_size=4).map(tuple), max_size=9)
)
def test_any_names_and_shapes(shapes: dict[str, tuple[int, ...] | None]) -> None:
    index = shipped("torchvision")
    assert index is not None
    assert sound(shapes, index) == []
    assert matches_in_order(shapes, index) == []


def test_a_very_long_name_and_very_many_names_end_soon(index: Index) -> None:
    begin = time.process_time()
    assert only({"a." * 500_000: (1,), **published("resnet18")}, index).foreign == ("a.",)
    assert matches({f"layer{i}.weight": (1,) for i in range(60_000)}, index) == []
    assert time.process_time() - begin < 5


def test_models_that_differ_only_in_a_head_that_is_missing_fit_alike() -> None:
    trunk: dict[str, tuple[int, ...]] = {f"stage.{i}.weight": (8, 3 if not i else 8, 3, 3) for i in range(30)}
    drawn = [
        Drawn(name=name, shapes={**trunk, **head}, axes=(axis,), classifier=True)
        for name, head, axis in [
            ("pooled", {"head.weight": (10, 8)}, ClassAxis(name="head.weight", axis=0, per_class=1, more=0)),
            (
                "attending",
                {"head.q.weight": (8, 8), "head.k.weight": (8, 8), "head.out.weight": (10, 8)},
                ClassAxis(name="head.out.weight", axis=0, per_class=1, more=0),
            ),
        ]
    ]
    both = numbered("torchvision", "1", drawn)
    assert {match.name for match in sound(trunk, both)} == {"pooled", "attending"}
    assert [match.name for match in sound({**trunk, "head.weight": (3, 8)}, both)] == ["pooled"]
