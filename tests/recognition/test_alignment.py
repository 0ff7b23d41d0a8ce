from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from collapsecheck.recognition.alignment import align

EXPECTED = {
    "stem.weight": (4, 1, 3, 3),
    "stem.bias": (4,),
    "block.norm.weight": (4,),
    "block.norm.bias": (4,),
    "head.weight": (3, 4),
    "head.bias": (3,),
}
PART = st.sampled_from(
    ["module", "_orig_mod", "model", "net", "backbone", "encoder_q", "x", "0", "_fsdp_wrapped_module"]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PART, max_size=5))
def test_any_prefix_is_taken_off(parts: list[str]) -> None:
    prefix = "".join(f"{part}." for part in parts)
    found = align({prefix + name: shape for name, shape in EXPECTED.items()}, EXPECTED)
    assert found.matched == len(EXPECTED)
    assert set(found.names.values()) == set(EXPECTED)
    assert found.added == ""
    assert bool(found.stripped) == bool(parts)


@settings(max_examples=50, deadline=None)
@given(st.lists(PART, min_size=1, max_size=3))
def test_any_prefix_of_the_module_is_put_in_front(parts: list[str]) -> None:
    prefix = "".join(f"{part}." for part in parts)
    found = align(EXPECTED, {prefix + name: shape for name, shape in EXPECTED.items()} | {"other": (1,)})
    assert found.matched == len(EXPECTED)
    assert found.added == prefix


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=30), st.none() | st.tuples(st.integers(0, 3)), max_size=8))
def test_any_names_keep_apart(given_shapes: dict[str, tuple[int, ...] | None]) -> None:
    found = align(given_shapes, EXPECTED)
    assert set(found.names) == set(given_shapes)
    assert len(set(found.names.values())) == len(given_shapes)
    assert found.matched + found.unexpected <= len(given_shapes)


def test_a_prefix_that_fits_little_is_left_alone() -> None:
    found = align({"other.stem.bias": (4,), "a.weight": (9,), "b.weight": (9,)}, EXPECTED)
    assert found.stripped == ()
    assert "other.stem.bias" in found.names.values()


def test_two_names_never_become_one() -> None:
    given_shapes = dict(EXPECTED)
    given_shapes |= {f"module.{name}": shape for name, shape in EXPECTED.items()}
    found = align(given_shapes, EXPECTED)
    assert len(set(found.names.values())) == len(given_shapes)


def test_a_prefix_is_taken_off_although_other_keys_do_not_have_it() -> None:
    given_shapes = {f"net.{name}": shape for name, shape in EXPECTED.items()} | {"loss.center": (3,)}
    found = align(given_shapes, EXPECTED)
    assert (found.matched, found.unexpected, found.stripped) == (6, 1, ("net.",))


def test_the_versions_of_modules_are_renamed_with_their_weights() -> None:
    found = align({f"module.net.{name}": shape for name, shape in EXPECTED.items()}, EXPECTED)
    assert [found.rename(name) for name in ("module.net.", "module.net.block.", "module.")] == ["", "block.", ""]


def test_a_very_long_name_costs_little() -> None:
    name = "a." * 200_000 + "weight"
    assert align({name: (1,)}, EXPECTED).matched == 0
