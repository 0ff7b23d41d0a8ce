from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsClassifier

from collapsecheck.observe.sample import NEIGHBOURS, SAME, TIGHT, PairSample

from ..statistics import slow
from ..statistics.clouds import CLOUDS, gaussian


def numbers(rows: np.ndarray, labels: np.ndarray | None = None) -> dict[str, float]:
    return {name: found.value for name, found in PairSample(rows, labels).measurements(5.0).items()}


@pytest.mark.parametrize("name", CLOUDS)
def test_numbers_of_pairs_equal_the_definitions(name: str) -> None:
    rows = CLOUDS[name]()
    got = numbers(rows)
    u = slow.unit(rows)
    gaps = slow.cosine_gaps(rows).astype(float)
    for quantile in (1, 5, 50, 95, 99):
        want = 1 - np.quantile(gaps, 1 - quantile / 100)
        np.testing.assert_allclose(got[f"cosine_q{quantile:02}"], want, rtol=1e-12, atol=1e-12)
    distances = slow.distances(u)
    typical = np.median(distances[np.triu_indices(len(u), 1)])
    _, near = slow.nearest(u, 1)
    ratio = np.median(near) / typical if typical > 0 else np.nan
    np.testing.assert_allclose(got["nearest_neighbour_ratio"], ratio, rtol=1e-9, atol=1e-9)
    assert got["tight_groups"] == len(slow.groups(u, TIGHT * np.sqrt((distances**2).mean())))
    np.testing.assert_allclose(got["centred_cosine_std"], slow.cosine_std(slow.centred(u)), rtol=1e-9)


@pytest.mark.parametrize("noise", [0.0, 1e-6, 1e-2])
def test_rows_practically_on_top_of_each_other(noise: float) -> None:
    rows = np.repeat(gaussian(50, 8), 2, axis=0)[:-10]  # 40 pairs and 10 alone
    rows = rows + noise * gaussian(90, 8, 5)
    table = pairwise_distances(rows)
    np.fill_diagonal(table, np.inf)
    typical = np.sqrt(2 * ((rows - rows.mean(0)) ** 2).sum(1).mean())
    want = (table.min(1) <= SAME * typical).mean()
    assert numbers(rows)["same_share"] == pytest.approx(want)


def test_groups_are_counted_by_their_shares() -> None:
    centres = gaussian(4, 8)
    rows = np.concatenate([np.repeat(centres[:2], 40, axis=0), np.repeat(centres[2:], 10, axis=0)])
    sample = PairSample(rows + 1e-6 * gaussian(100, 8, 3))
    shares = np.array([0.4, 0.4, 0.1, 0.1])
    assert sample.group_number == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert PairSample(np.ones((20, 3))).group_number == 1 == PairSample(gaussian(2, 3)).group_number


def test_numbers_of_classes_equal_the_definitions() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, 120)
    rows = gaussian(5, 6)[labels] + 0.8 * random.standard_normal((120, 6))
    got, unit = numbers(rows, labels), slow.unit(rows).astype(float)
    assert got["between_class_share"] == pytest.approx(slow.between_class_share(unit, labels), rel=1e-9)
    assert got["nearest_centre_accuracy"] == slow.nearest_centre_accuracy(unit, labels)
    assert got["neighbour_accuracy"] == slow.neighbour_accuracy(slow.nearest(unit, NEIGHBOURS)[0], labels)
    near = [
        KNeighborsClassifier(NEIGHBOURS).fit(np.delete(unit, i, 0), np.delete(labels, i)).predict(unit[i : i + 1])[0]
        for i in range(120)
    ]
    assert got["neighbour_accuracy"] == pytest.approx(np.mean(np.array(near) == labels), abs=0.05)  # ties differ


def test_unknown_labels_and_zero_rows_are_left_out_of_the_classes() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 90)
    rows = gaussian(3, 6)[labels] + 0.5 * random.standard_normal((90, 6))
    spoilt, hidden = rows.copy(), labels.copy()
    spoilt[::10] = 0
    hidden[1::10] = -1
    kept = np.setdiff1d(np.arange(90), np.r_[0:90:10, 1:90:10])
    got, want = numbers(spoilt, hidden), numbers(rows[kept], labels[kept])
    for name in ("nearest_centre_accuracy", "neighbour_accuracy", "between_class_share"):
        assert got[name] == pytest.approx(want[name], rel=1e-9)


@pytest.mark.parametrize("labels", [None, np.zeros(20, np.intp), np.full(20, -1), np.where(np.arange(20) < 19, -1, 3)])
def test_without_two_classes_there_are_no_class_numbers(labels: np.ndarray | None) -> None:
    assert not {"between_class_share", "neighbour_accuracy"} & numbers(gaussian(20, 3), labels).keys()


def test_proportions_have_intervals_and_chance() -> None:
    found = PairSample(gaussian(60, 3), np.arange(60) % 3).measurements(3.0)
    for name in ("nearest_centre_accuracy", "neighbour_accuracy"):
        measured = found[name]
        assert measured.interval is not None and measured.null == pytest.approx(1 / 3)
        assert 0 <= measured.low <= measured.value <= measured.high <= 1
    assert found["between_class_share"].null == pytest.approx(2 / 59)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_rows_have_no_numbers(n: int) -> None:
    assert numbers(gaussian(n, 3), np.arange(n)) == {}
    assert np.isnan(PairSample(gaussian(n, 3)).same_share)


@pytest.mark.parametrize("labels", [None, np.arange(40) % 2])
@pytest.mark.parametrize("lengths", [np.ones((40, 1)), np.linspace(0.1, 9, 40)[:, None]])
@pytest.mark.parametrize("d", [1, 3, 70])
def test_equal_directions_have_one_group_and_no_geometry(
    d: int, lengths: np.ndarray, labels: np.ndarray | None
) -> None:
    got = numbers(lengths * np.abs(gaussian(1, d)), labels)
    assert got["cosine_q01"] == got["cosine_q99"] == 1 and got["tight_groups"] == 1
    assert np.isnan(got["nearest_neighbour_ratio"]) and "centred_cosine_std" not in got
    if labels is not None:
        assert np.isnan(got["between_class_share"])


def test_zero_rows_have_no_numbers() -> None:
    assert numbers(np.zeros((20, 3))) == {}
