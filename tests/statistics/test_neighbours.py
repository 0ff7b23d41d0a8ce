from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from collapsecheck.statistics.neighbours import (
    CHUNK,
    nearest,
    neighbour_ratio,
    pair_cosines,
    pair_sample,
    tight_groups,
    unit_rows,
)

from . import slow
from .clouds import CLOUDS, gaussian


@pytest.mark.parametrize("n", [2, 3, 60, CHUNK + 100])
@pytest.mark.parametrize("count", [1, 5])
def test_nearest_agrees_with_scikit_learn(n: int, count: int) -> None:
    rows = gaussian(n, 7)
    indices, distances = nearest(rows, count)
    count = min(count, n - 1)
    want, which = NearestNeighbors(n_neighbors=count + 1, algorithm="brute").fit(rows).kneighbors(rows)
    np.testing.assert_allclose(distances, want[:, 1:], rtol=1e-9)
    np.testing.assert_array_equal(indices, which[:, 1:])


@pytest.mark.parametrize("name", CLOUDS)
def test_nearest_agrees_with_all_distances(name: str) -> None:
    """To 1e-7 of the scale: among rows closer than that any may be named, at its exact distance."""
    rows = np.asarray(CLOUDS[name](), np.float64)
    rows = rows - rows.mean(0)
    rows /= np.abs(rows).max()
    indices, distances = nearest(rows, 5)
    _, want = slow.nearest(rows, 5)
    np.testing.assert_allclose(distances, want, rtol=1e-9, atol=1e-7)
    table = slow.distances(rows)
    np.testing.assert_allclose(distances, np.take_along_axis(table, indices, axis=1), rtol=1e-12, atol=1e-16)
    assert not (indices == np.arange(len(rows))[:, None]).any()


def test_pairs_are_all_pairs_when_there_are_few() -> None:
    first, second = pair_sample(10)
    assert sorted(zip(first.tolist(), second.tolist(), strict=True)) == [
        (i, j) for i in range(10) for j in range(i + 1, 10)
    ]
    assert len(pair_sample(1)[0]) == len(pair_sample(0)[0]) == 0


def test_sampled_pairs_are_uniform_and_never_a_row_with_itself() -> None:
    first, second = pair_sample(50, pairs=1000)
    assert len(first) == 1000 and not (first == second).any() and second.max() < 50
    first, second = pair_sample(1000, pairs=100_000)
    np.testing.assert_allclose(np.histogram((second - first) % 1000, 10, (0, 1000))[0] / 100_000, 0.1, atol=0.01)


@pytest.mark.parametrize("name", CLOUDS)
def test_cosines_of_pairs_keep_their_digits(name: str) -> None:
    unit = slow.unit(CLOUDS[name]()).astype(np.float64)
    got = 1 - pair_cosines(unit, pair_sample(len(unit)))
    np.testing.assert_allclose(got, slow.cosine_gaps(unit).astype(float), rtol=1e-9, atol=2e-16)


def test_unit_rows_leave_zero_rows_and_what_underflows_at_zero() -> None:
    rows = np.array([[3.0, 4.0], [0.0, 0.0], [1e-200, 1e-200], [1e-30, 0.0]])
    np.testing.assert_allclose(unit_rows(rows), [[0.6, 0.8], [0, 0], [0, 0], [1, 0]], rtol=1e-15)
    assert unit_rows(np.ones((2, 2), np.int64)).dtype == np.float64


def test_neighbour_ratio() -> None:
    assert neighbour_ratio(np.array([1.0, 2.0, 6.0]), 4.0) == 0.5
    assert np.isnan(neighbour_ratio(np.array([0.0]), 0.0)) and np.isnan(neighbour_ratio(np.array([0.0]), np.nan))


def test_neighbour_ratio_of_isotropic_rows() -> None:
    rows = gaussian(1000, 256)
    rows = rows - rows.mean(0)
    first, second = pair_sample(1000)
    typical = np.median(np.linalg.norm(rows[first] - rows[second], axis=1))
    np.testing.assert_allclose(neighbour_ratio(nearest(rows)[1][:, 0], float(typical)), 0.879, rtol=0.01)


@pytest.mark.parametrize("radius", [0.0, 0.05, 0.3, 0.6, 3.0])
def test_tight_groups_are_connected_components(radius: float) -> None:
    rows = np.concatenate([gaussian(20, 2, 1) * 0.1, gaussian(20, 2, 2) * 0.1 + 1, gaussian(20, 2, 3)])
    labels = tight_groups(*nearest(rows, len(rows) - 1), radius)
    got = sorted(sorted(np.flatnonzero(labels == group).tolist()) for group in np.unique(labels))
    assert got == sorted(sorted(group) for group in slow.groups(rows, radius))


def test_equal_rows_are_one_group_though_each_sees_only_five_neighbours() -> None:
    rows = np.repeat(gaussian(3, 4), 100, axis=0)
    assert tight_groups(*nearest(rows, 5), 1e-9).tolist() == [0] * 100 + [1] * 100 + [2] * 100
