from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapsecheck.checkpoints.entry_order import Alignment, align, subsequence

Shape = tuple[int, ...]
few = st.sampled_from([(2,), (3,), (3, 2), (3, 3)])
entry = st.one_of(few, few, few, st.none())


def slow(entries: list[Shape | None], shapes: list[Shape]) -> Alignment | None:
    """Every way there is."""
    ways = [
        way
        for way in combinations(range(len(shapes)), len(entries))
        if all(one is None or shapes[place] == one for one, place in zip(entries, way, strict=True))
    ]
    if not ways:
        return None
    places = {index: {way[index] for way in ways} for index in range(len(entries))}
    return Alignment(
        places={index: next(iter(found)) for index, found in places.items() if len(found) == 1},
        missing=tuple(place for place in range(len(shapes)) if not any(place in way for way in ways)),
        missing_count=len(shapes) - len(entries),
    )


@given(st.lists(entry, max_size=7), st.lists(few, max_size=8))
def test_it_finds_what_all_ways_have_in_common(entries: list[Shape | None], shapes: list[Shape]) -> None:
    if len(entries) <= len(shapes):
        assert subsequence(entries, shapes) == slow(entries, shapes)


@given(st.lists(few, min_size=1, max_size=12), st.data())
def test_what_was_planted_is_never_contradicted(shapes: list[Shape], data: st.DataObject) -> None:
    left_out = data.draw(st.sets(st.integers(0, len(shapes) - 1), max_size=len(shapes) - 1))
    kept = [place for place in range(len(shapes)) if place not in left_out]
    unknown = data.draw(st.sets(st.sampled_from(kept)))
    found = align([None if place in unknown else shapes[place] for place in kept], shapes)
    assert found is not None
    assert found.missing_count == len(left_out)
    assert set(found.missing) <= left_out
    assert all(kept[index] == place for index, place in found.places.items())


@given(st.lists(few, min_size=3, max_size=8))
def test_a_head_behind_the_model_is_extra(shapes: list[Shape]) -> None:
    found = align([*shapes, (10, 64), (10,)], shapes)
    assert found == Alignment(
        places={place: place for place in range(len(shapes))}, missing=(), missing_count=0, extra=2
    )


def test_a_frozen_beginning_and_a_head_that_was_not_saved() -> None:
    shapes = [(4, 1), (4,), (8, 4), (8,), (6, 8), (6,)]
    found = align([*shapes[2:], (10, 6), (10,)], shapes)
    assert found is not None
    assert (found.missing, found.missing_count, found.extra) == ((0, 1), 2, 2)


def test_two_places_for_a_block_are_left_open() -> None:
    shapes = [(3, 3), (3,)]
    found = align([*shapes, *shapes], shapes)
    assert found == Alignment(places={}, missing=(), missing_count=0, extra=2)


@pytest.mark.parametrize("vectors_first", [False, True])
def test_groups_of_matrices_and_vectors_with_some_left_out(vectors_first: bool) -> None:
    shapes = [(4, 1), (4,), (8, 4), (8,), (6, 8), (6,)]
    matrices, vectors = [2, 4], [3, 5]
    order = vectors + matrices if vectors_first else matrices + vectors
    found = align([shapes[place] for place in order], shapes)
    assert found is not None
    assert found.missing == (0, 1)
    assert [found.places[index] for index in range(4)] == order


def test_groups_from_the_last_layer_to_the_first() -> None:
    shapes = [(4, 1), (4,), (8, 4), (8,), (6, 8), (6,), (6, 8)]
    order = [5, 4, 3, 2]
    found = align([shapes[place] for place in order], shapes)
    assert found is not None
    assert (found.missing, found.missing_count) == ((0, 1), 3)
    assert found.places == {0: 5, 2: 3, 3: 2}  # two layers have the shape of the other one


def test_groups_from_a_head_that_was_not_saved_to_the_first_layer() -> None:
    shapes = [(4, 1), (4,), (8, 4), (8,), (6, 8), (6,)]
    found = align([(10, 6), (10,), *reversed(shapes)], shapes)
    assert found is not None
    assert (found.missing_count, found.extra, found.places) == (0, 2, {index + 2: 5 - index for index in range(6)})


@pytest.mark.parametrize(
    "entries", [[(9, 9)], [(9,), None], [(2, 3), (2, 3), (2, 3)], [None, (5,)], [(5,), (3, 2), (5,), (9,)]]
)
def test_other_shapes_do_not_fit(entries: list[Shape | None]) -> None:
    assert align(entries, [(3, 2), (3,)]) is None


def test_nothing_fits_nothing() -> None:
    assert align([], [(3, 2)]) is None
    assert align([(3, 2)], []) is None


def test_many_entries_are_left_open_rather_than_slow() -> None:
    shapes: list[Shape] = [(2, 2)] * 20_000
    found = align(shapes[:10_000], shapes)
    assert found == Alignment(places={}, missing=(), missing_count=10_000)
    assert align(shapes, shapes[:10_000]) is None
