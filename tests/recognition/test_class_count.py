from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collapsecheck.recognition.alignment import Shapes
from collapsecheck.recognition.class_count import ClassAxis, class_axes, class_count


def detector(count: int) -> Shapes:
    """Four coordinates and a score for each class and the background, beside what does not depend on them."""
    return {
        "trunk.weight": (64, 3, 7, 7),
        "score.weight": (count + 1, 64),
        "box.weight": (4 * (count + 1), 64),
        "box.bias": (4 * (count + 1),),
        "aux.weight": (64, count),
        "scale": (),
    }


def test_every_axis_that_depends_on_the_number_is_found() -> None:
    assert class_axes(detector) == (
        ClassAxis(name="score.weight", axis=0, per_class=1, more=1),
        ClassAxis(name="box.weight", axis=0, per_class=4, more=4),
        ClassAxis(name="box.bias", axis=0, per_class=4, more=4),
        ClassAxis(name="aux.weight", axis=1, per_class=1, more=0),
    )


@given(st.integers(1, 100_000))
def test_the_number_comes_back(count: int) -> None:
    axes = class_axes(detector)
    shapes = detector(count)
    assert class_count(axes, shapes) == count
    for one in axes:
        assert (shapes[one.name] or ())[one.axis] == one.size(count)
        assert one.classes(shapes[one.name]) == count


def test_a_model_without_classes() -> None:
    def refuses(count: int) -> Shapes:
        raise TypeError(f"no num_classes={count}")

    assert class_axes(refuses) == ()
    assert class_axes(lambda count: {"a.weight": (8, 8)}) == ()
    assert class_count((), {"a.weight": (8, 8)}) is None


def test_shapes_that_mean_no_number() -> None:
    box = ClassAxis(name="box", axis=1, per_class=4, more=4)
    assert box.classes((9, 10)) is None  # 6 is no multiple of 4
    assert box.classes((9, 4)) is None  # no class at all
    assert box.classes((9,)) is None
    assert box.classes(None) is None
    assert box.classes((9, 12)) == 2


def test_the_first_tensor_that_tells_decides() -> None:
    axes = class_axes(detector)
    assert class_count(axes, {"box.bias": (12,), "aux.weight": (64, 9)}) == 2
