from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collapsecheck.observe import EmbeddingSummary, NotObservable, Observations, observe_arrays
from collapsecheck.observe.cloud import METRICS
from collapsecheck.statistics import cosine, spectrum, spread

from ..statistics import slow
from ..statistics.clouds import CLOUDS, gaussian

# What depends on the axes; the rest does not change when the rows are rotated.
BY_DIMENSION = {
    "std_ratio",
    "evenness",
    "distinct_values_median",
    "dead_dimensions",
    "dimension_std_median",
    "top_dimension_share",
    "rank_beside_top_dimension",
    "top_dimension_cosine_share",
}
WITH_SCALE = {"norm_median", "dimension_std_median"}
CENTRED = {
    "effective_rank",
    "spectral_entropy_rank",
    "participation_ratio",
    "stable_rank",
    "dimensions_for_99",
    "top_direction_share",
    "dead_dimensions",
    "dimension_std_median",
    "top_dimension_share",
}


def numbers(rows: np.ndarray, **given_more: object) -> dict[str, float]:
    return {name: found.value for name, found in observe_arrays(rows, **given_more).measurements.items()}  # type: ignore[arg-type]


def same(got: dict[str, float], want: dict[str, float], rtol: float, but: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    assert got.keys() == want.keys()
    for name in got.keys() - but:
        np.testing.assert_allclose(got[name], want[name], rtol=rtol, atol=1e-9, err_msg=name)


SHAPES = {"n": st.integers(5, 80), "d": st.integers(2, 20), "seed": st.integers(0, 10**6), "alpha": st.floats(0, 2)}
QUICK = settings(deadline=None, max_examples=25)


@QUICK
@given(**SHAPES, scale=st.sampled_from([1e-20, 1e-3, 7.0, 1e15]))
def test_scale_changes_only_norms(n: int, d: int, seed: int, alpha: float, scale: float) -> None:
    rows = gaussian(n, d, seed, alpha) + 0.3
    want, got = numbers(rows), numbers(rows * scale)
    same(got, want, 1e-7, WITH_SCALE)
    for name in WITH_SCALE:
        np.testing.assert_allclose(got[name], want[name] * scale, rtol=1e-9)


@QUICK
@given(**SHAPES)
def test_rotation_changes_only_what_belongs_to_dimensions(n: int, d: int, seed: int, alpha: float) -> None:
    rows = gaussian(n, d, seed, alpha) + 0.3
    rotation = np.linalg.qr(gaussian(d, d, seed + 1))[0]
    same(numbers(rows @ rotation), numbers(rows), 1e-7, BY_DIMENSION)


@QUICK
@given(**SHAPES)
def test_the_order_of_the_rows_changes_nothing(n: int, d: int, seed: int, alpha: float) -> None:
    rows = gaussian(n, d, seed, alpha) + 0.3
    order = np.random.default_rng(seed).permutation(n)
    same(numbers(rows[order]), numbers(rows), 1e-9)


@QUICK
@given(**SHAPES, offset=st.floats(-1000, 1000))
def test_translation_leaves_centred_numbers_alone(n: int, d: int, seed: int, alpha: float, offset: float) -> None:
    rows = gaussian(n, d, seed, alpha)
    got, want = numbers(rows + offset * gaussian(1, d, seed + 1)), numbers(rows)
    for name in CENTRED:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-6, err_msg=name)


FILLS: dict[str, Callable[[int, int], np.ndarray]] = {
    "random": gaussian,
    "zeros": lambda n, d: np.zeros((n, d)),
    "equal rows": lambda n, d: np.full((n, d), 0.1),
    "equal directions": lambda n, d: (np.arange(n)[:, None] + 0.7) * np.full((1, d), 0.3),
    "one-hot": lambda n, d: np.eye(d)[np.arange(n) % d],
    "not finite": lambda n, d: np.full((n, d), np.nan),
    "some not finite": lambda n, d: np.where(np.arange(n)[:, None] % 2, np.inf, gaussian(n, d)),
    "some zero": lambda n, d: np.where(np.arange(n)[:, None] % 2, 0.0, gaussian(n, d)),
    "negative zeros": lambda n, d: np.full((n, d), -0.0),
    "tiny": lambda n, d: 1e-300 * gaussian(n, d),
    "smallest in single precision": lambda n, d: (1e-44 * gaussian(n, d)).astype(np.float32),
    "largest in single precision": lambda n, d: (3e38 * np.sign(gaussian(n, d))).astype(np.float32),
    "largest": lambda n, d: 1e308 * np.sign(gaussian(n, d)),
    "whole numbers": lambda n, d: np.random.default_rng(0).integers(-3, 3, (n, d)),
    "bytes": lambda n, d: np.random.default_rng(0).integers(0, 255, (n, d)).astype(np.uint8),
    "truth values": lambda n, d: gaussian(n, d) > 0,
    "half precision": lambda n, d: gaussian(n, d).astype(np.float16),
    "nearly constant": lambda n, d: 1 + 1e-15 * gaussian(n, d),
}


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("d", [1, 2, 9, 600])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 30])
def test_never_a_warning_never_an_error_never_out_of_range(fill: str, n: int, d: int) -> None:
    if d == 600 and n > 4 and fill not in ("random", "equal rows", "some zero"):
        return  # wide rows take a second each
    rows = FILLS[fill](n, d)
    seen = observe_arrays(rows, labels=np.arange(n) % 2, inputs=rows)
    found = seen.measurements
    assert found["rows"].value + found["non_finite_rows"].value == n
    for name, measured in found.items():
        if name in METRICS and measured.known:
            low, high = METRICS[name].low, METRICS[name].high
            assert low * (1 - 1e-9) <= measured.value <= high * (1 + 1e-9) or "participation_ratio" in name, name
        if measured.interval is not None:
            assert measured.interval[0] <= measured.interval[1] and np.isfinite(measured.interval).all(), name
    if seen.rows < 2:
        for name in (
            "mean_cosine",
            "relative_spread",
            "effective_rank",
            "participation_ratio",
            "std_ratio",
            "stable_rank",
        ):
            assert name not in found or not found[name].known, name


def undefined(found: dict[str, float]) -> set[str]:
    return {name for name, value in found.items() if np.isnan(value)}


RANKS = {
    "effective_rank",
    "unit_effective_rank",
    "spectral_entropy_rank",
    "participation_ratio",
    "unit_participation_ratio",
    "stable_rank",
    "dimensions_for_99",
    "live_directions",
    "top_direction_share",
}


@pytest.mark.parametrize("value", [0.1, 1e10, 1e-20])
@pytest.mark.parametrize("n", [2, 7, 500])
def test_equal_rows_have_no_rank(value: float, n: int) -> None:
    found = numbers(np.full((n, 12), value))
    assert undefined(found) >= RANKS | {"evenness", "top_dimension_share"}
    assert (found["mean_cosine"], found["mean_cosine_gap"], found["relative_spread"], found["std_ratio"]) == (
        1,
        0,
        0,
        0,
    )
    assert found["distinct_rows"] == 1 and found["dead_dimensions"] == 12


@pytest.mark.parametrize("d", [12, 70])
def test_equal_directions_have_no_rank_among_unit_rows(d: int) -> None:
    found = numbers(np.linspace(1, 9, 50)[:, None] * gaussian(1, d))
    assert undefined(found) >= {"unit_effective_rank", "unit_participation_ratio", "live_directions", "evenness"}
    assert found["effective_rank"] == pytest.approx(1) and found["mean_cosine"] == 1 and found["unit_spread"] == 0


def test_zero_rows_have_no_cosine() -> None:
    found = numbers(np.zeros((50, 4)))
    assert undefined(found) >= RANKS | {"mean_cosine", "cosine_std", "unit_spread", "std_ratio", "norm_cv", "rankme"}
    assert found["zero_rows"] == 50 and found["relative_spread"] == 0


def test_half_zero_rows_report_the_cosines_of_the_other_half() -> None:
    """With the number of all rows in place of those with a direction it would be −0.00013 and 0.029."""
    rows = gaussian(4000, 256)
    rows[::2] = 0
    found = numbers(rows)
    assert found["zero_rows"] == 2000 and abs(found["mean_cosine"]) < 1e-4
    assert found["cosine_std"] == pytest.approx(0.0625, rel=0.01)


@pytest.mark.parametrize("shape", [(20, 60), (60, 20)])
def test_rows_whose_length_underflows_have_no_direction(shape: tuple[int, int]) -> None:
    rows = gaussian(*shape)
    rows[3] *= 1e-200
    got = numbers(rows)
    rows[3] = 0
    want = numbers(rows)
    for name in ("zero_rows", "unit_effective_rank", "unit_participation_ratio", "mean_cosine", "live_directions"):
        np.testing.assert_allclose(got[name], want[name], rtol=1e-12, err_msg=name)


def test_one_row_and_no_row() -> None:
    assert numbers(gaussian(0, 3)) == {"rows": 0, "dimension": 3, "non_finite_rows": 0, "zero_rows": 0}
    found = numbers(gaussian(1, 3))
    assert found["rows"] == found["distinct_rows"] == 1
    assert "rankme" not in found and undefined(found) >= RANKS | {"mean_cosine", "relative_spread"}


def test_bfloat16_rows_by_way_of_a_tensor() -> None:
    rows = torch.from_numpy(gaussian(100, 6) + 2).bfloat16()
    summary = EmbeddingSummary(6)
    summary.update(rows)
    found = Observations(embeddings=summary).measurements
    exact = rows.double().numpy()
    for name in ("mean_cosine", "effective_rank", "unit_participation_ratio"):
        np.testing.assert_allclose(found[name].value, slow.MEASURED[name](exact), rtol=1e-9)


@pytest.mark.parametrize("name", CLOUDS)
def test_dead_dimensions_equal_the_definition(name: str) -> None:
    rows = CLOUDS[name]().copy()
    rows[:, 0] = rows[0, 0]
    deviations = np.sqrt(slow.variances(rows))
    want = (deviations <= 1e-3 * np.sqrt((deviations**2).mean())).sum()
    assert numbers(rows)["dead_dimensions"] == want


def test_what_is_not_there_is_not_observable() -> None:
    seen = observe_arrays(gaussian(20, 3))
    for ask in (
        lambda: seen.measure("input_mean_cosine"),
        lambda: seen.classes,
        lambda: seen.input_sample,
        lambda: observe_arrays(np.ones((20, 3))).measure("effective_rank"),
    ):
        with pytest.raises(NotObservable):
            ask()
    tokens = observe_arrays(gaussian(20, 3), inputs=np.arange(40).reshape(20, 2))
    with pytest.raises(NotObservable, match="token ids"):
        _ = tokens.input_sample
    assert tokens.measure("distinct_inputs").value == 20 and not seen.separates_classes


def test_labels_inputs_and_dtype_are_handed_on() -> None:
    rows = np.repeat(3 * gaussian(4, 6), 25, axis=0) + 0.01 * gaussian(100, 6, 1)
    labels = np.repeat(np.arange(4), 25)
    done: list[int] = []
    seen = observe_arrays(
        rows.astype(np.float32), inputs=gaussian(100, 9), labels=labels, dtype="bfloat16", advance=done.append
    )
    assert seen.classes == 4 and seen.separates_classes and len(seen.input_sample.rows) == 100
    assert done == [100] and seen.items == 100 and seen.embeddings.dtype == "bfloat16" and not seen.non_negative
    assert observe_arrays(np.abs(rows)).non_negative
    assert observe_arrays(np.ones((3, 2), np.int64)).embeddings.dtype == "float64"


def test_portions_of_a_long_array_are_all_taken() -> None:
    rows = gaussian(9000, 3)
    done: list[int] = []
    seen = observe_arrays(rows, advance=done.append)
    assert done == [4096, 4096, 808] and seen.rows == 9000
    np.testing.assert_allclose(seen.raw.mean, rows.mean(0), rtol=1e-10)


# -- the fault catalogue: n = 4000, D = 256 ------------------------------------------------------------------

N, D = 4000, 256
NAMES = ("mean_cosine", "cosine_std", "std_ratio", "relative_spread", "rankme", "spectral_entropy_rank",
         "participation_ratio", "dimensions_for_99")  # fmt: skip


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((N, D))


def power(alpha: float) -> np.ndarray:
    rotation = np.linalg.qr(gaussian(D, D, 11))[0]
    return noise() * np.arange(1, D + 1) ** (-alpha / 2) @ rotation


def direction() -> np.ndarray:
    vector = gaussian(1, D, 42)
    return vector / np.linalg.norm(vector)


def rank(k: int) -> np.ndarray:
    return gaussian(N, k, 8) @ gaussian(k, D, 7) / D**0.5


def clusters(k: int, spread: float) -> np.ndarray:
    return gaussian(k, D, 9)[np.random.default_rng(3).integers(0, k, N)] + spread * noise(1)


def simplex(spread: float, mean: float) -> np.ndarray:
    centres = np.linalg.qr(gaussian(D, 11, 9))[0].T
    corners = centres[:10] - centres[:10].mean(0)
    corners /= np.linalg.norm(corners[0])
    return corners[np.arange(N) % 10] + mean * centres[10] + spread * noise(1)


def rogue() -> np.ndarray:
    rows = noise()
    rows[:, 5] = 3 * rows[:, 5] + 60
    return rows


def halved(rows: np.ndarray) -> np.ndarray:
    rows[:, : D // 2] = 0
    return rows


def zeroed(rows: np.ndarray) -> np.ndarray:
    rows[::2] = 0
    return rows


CATALOGUE: dict[str, tuple[Callable[[], np.ndarray], tuple[float, ...]]] = {
    "isotropic": (noise, (0.0, 0.0625, 1.0, 1.0, 253.9, 247.9, 255.9, 252)),
    "power 0.7": (lambda: power(0.7), (0.0, 0.110, 0.998, 1.0, 233.2, 151.9, 75.6, 247)),
    "power 1": (lambda: power(1), (-0.0001, 0.187, 0.994, 1.0, 207.2, 72.7, 22.3, 238)),
    "power 1.5": (lambda: power(1.5), (0.0001, 0.351, 0.973, 1.0, 141.4, 15.2, 5.2, 174)),
    "power 2": (lambda: power(2), (0.0002, 0.492, 0.948, 1.0, 74.3, 5.0, 2.46, 49)),
    "relu": (lambda: np.maximum(noise(), 0), (0.319, 0.046, 0.825, 0.826, 238.9, 247.9, 256.1, 252)),
    "relu of power 1": (lambda: np.maximum(power(1), 0), (0.324, 0.099, 0.817, 0.826, 210.6, 113.8, 38.2, 246)),
    "complete": (
        lambda: direction() + 1e-3 / D**0.5 * noise(),
        (1.0, 9e-8, 0.001, 0.001, 1.18, 247.9, 256, 252),
    ),
    "rank 4": (lambda: rank(4), (0.0002, 0.502, 0.944, 1.0, 3.99, 3.96, 3.93, 4)),
    "rank 16": (lambda: rank(16) + 2.5e-4 * noise(), (0.0, 0.255, 0.985, 1.0, 16.4, 15.5, 15.2, 16)),
    "poles": (
        lambda: np.where(np.arange(N)[:, None] % 2, 1, -1) * direction() + 0.01 / D**0.5 * noise(),
        (0.0, 0.9999, 0.774, 1.0, 3.17, 1.0, 1.0, 1),
    ),
    "half dead": (lambda: halved(noise()), (0.0, 0.088, 0.707, 1.0, 127.5, 126.0, 128.0, 127)),
    "cone 4": (lambda: noise() / D**0.5 + 4 * direction(), (0.941, 0.005, 0.242, 0.243, 136.8, 247.8, 255.8, 252)),
    "cone 10": (lambda: noise() / D**0.5 + 10 * direction(), (0.990, 0.0009, 0.099, 0.099, 57.7, 247.9, 256.0, 252)),
    "rogue": (rogue, (0.933, 0.007, 0.258, 0.262, 142.6, 237.2, 206.8, 252)),
    "5 clusters": (lambda: clusters(5, 0.05), (0.2, 0.4, 0.842, 0.887, 24.0, 4.10, 3.96, 4)),
    "100 clusters": (lambda: clusters(100, 0.05), (0.010, 0.118, 0.992, 0.995, 116.7, 81.1, 70.8, 95)),
    "tiny": (lambda: 1e-9 * noise(), (0.0, 0.0625, 1.0, 1.0, 253.9, 247.9, 256, 252)),
    "heavy tails": (
        lambda: noise() * np.exp(2 * np.random.default_rng(1).standard_normal((N, 1))),
        (0.0, 0.0625, 1.0, 1.0, *[np.nan] * 4),  # ranks of such raw rows hang on a few of them
    ),
    "64 rows": (lambda: clusters(64, 0.0), (0.016, 0.138, 0.988, 0.992, 61.8, 55.7, 51.2, 61)),
    "half zero": (lambda: zeroed(noise()), (0.0, 0.0625, 1.0, 1.0, 251.7, 240, 255.9, 251)),
    "neural collapse": (lambda: simplex(0.0013, 0.0), (-0.0001, 0.333, 0.973, 1.0, 17.1, 9.04, 9.02, 9)),
}


@pytest.mark.parametrize("case", CATALOGUE)
def test_fault_catalogue(case: str) -> None:
    make, want = CATALOGUE[case]
    summary = EmbeddingSummary(D)
    summary.update(make())
    seen = Observations(embeddings=summary)
    values = spectrum.eigenvalues(seen.raw)
    got = (
        cosine.mean_cosine(seen.unit),
        cosine.cosine_std(seen.unit),
        spread.std_ratio(seen.unit),
        spread.relative_spread(seen.raw),
        spectrum.rankme(seen.raw),
        spectrum.spectral_entropy_rank(values),
        spectrum.participation_ratio(seen.raw),
        spectrum.dimensions_for_99(values),
    )
    for name, found, wanted in zip(NAMES, got, want, strict=True):
        if not np.isnan(wanted):  # one draw of another generator: to a few per cent
            np.testing.assert_allclose(found, wanted, rtol=0.05, atol=2e-3 if wanted < 0.3 else 0, err_msg=name)


@pytest.mark.parametrize("n", [300, 2048])
def test_distinct_values_and_lengths_of_few_rows_are_exact(n: int) -> None:
    """Beyond 255 values the sketch estimates; the sample holds all of up to 2048 rows."""
    rows = np.round(gaussian(n, 5), 2)
    found = observe_arrays(rows).measurements
    assert found["distinct_values_median"].value == np.median(slow.distinct_values(rows))
    narrow = gaussian(1, 12, 9) * (1 + 1e-7 * gaussian(n, 12))
    norm_cv = slow.MEASURED["norm_cv"](narrow)
    np.testing.assert_allclose(observe_arrays(narrow).measurements["norm_cv"].value, norm_cv, rtol=1e-9)
