from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from collapsecheck.statistics.class_structure import (
    between_class_share,
    chance,
    nearest_centre_accuracy,
    neighbour_accuracy,
)
from collapsecheck.statistics.neighbours import nearest

from . import slow
from .clouds import gaussian


def classified(noise: float, n: int = 90, classes: int = 6, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(int(1000 * noise))
    labels = random.integers(0, classes, n)
    return shift + random.standard_normal((classes, 5))[labels] + noise * random.standard_normal((n, 5)), labels


NOISE = pytest.mark.parametrize("noise", [0.01, 0.7, 1.5, 5.0])
SHIFT = pytest.mark.parametrize("shift", [0.0, 1e6])


@NOISE
@SHIFT
def test_between_class_share_equals_the_definition(noise: float, shift: float) -> None:
    rows, labels = classified(noise, shift=shift)
    np.testing.assert_allclose(between_class_share(rows, labels), slow.between_class_share(rows, labels), rtol=1e-9)


@NOISE
@SHIFT
def test_centre_accuracy_equals_leaving_each_row_out(noise: float, shift: float) -> None:
    rows, labels = classified(noise, shift=shift)
    labels[0] = 17  # alone in its class: not counted itself, but a centre for the others
    assert nearest_centre_accuracy(rows, labels) == slow.nearest_centre_accuracy(rows, labels)


@NOISE
@pytest.mark.parametrize("k", [1, 2, 3, 5, 8])
def test_neighbour_accuracy_is_a_majority_vote(noise: float, k: int) -> None:
    rows, labels = classified(noise)
    neighbours, _ = nearest(rows, k)
    assert neighbour_accuracy(neighbours, labels) == slow.neighbour_accuracy(neighbours, labels)


def test_one_neighbour_agrees_with_scikit_learn() -> None:
    rows, labels = classified(1.0)
    right = [
        KNeighborsClassifier(1).fit(np.delete(rows, i, 0), np.delete(labels, i)).predict(rows[i : i + 1])[0]
        == labels[i]
        for i in range(len(rows))
    ]
    assert neighbour_accuracy(nearest(rows, 1)[0], labels) == np.mean(right)


@pytest.mark.parametrize(
    ("votes", "winner"),
    [((0, 1, 1, 0, 2), 0), ((0, 1, 1, 2, 0), 0), ((1, 0, 0, 2, 1), 1), ((2, 0, 0, 1, 1), 0), ((0, 1, 2, 3, 4), 0)],
)
def test_the_nearest_neighbour_breaks_ties(votes: tuple[int, ...], winner: int) -> None:
    labels = np.array([winner, *votes])
    neighbours = np.tile(np.arange(1, 6), (6, 1))
    assert neighbour_accuracy(neighbours, labels) == (labels == winner).mean()


def test_collapsed_and_random_classes() -> None:
    rows, labels = classified(0.0)
    assert between_class_share(rows, labels) == pytest.approx(1) and nearest_centre_accuracy(rows, labels) == 1
    random = np.random.default_rng(0).integers(0, 10, 4000)
    np.testing.assert_allclose(between_class_share(gaussian(4000, 64), random), 9 / 3999, rtol=0.2)
    np.testing.assert_allclose(
        nearest_centre_accuracy(gaussian(4000, 64), random), 0.1, atol=0.02
    )  # left out: no optimism


def test_without_classes_or_spread_the_numbers_are_undefined() -> None:
    rows = gaussian(6, 3)
    assert np.isnan(between_class_share(np.zeros((6, 3)), np.arange(6)))
    assert np.isnan(nearest_centre_accuracy(rows, np.zeros(6, np.intp)))
    assert np.isnan(nearest_centre_accuracy(rows, np.arange(6)))


def test_chance_is_the_share_of_the_largest_class() -> None:
    assert chance(np.array([3, 3, 3, 1])) == 0.75
