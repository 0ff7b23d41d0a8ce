from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from collapsecheck.observe import InputSummary
from collapsecheck.observe.inputs import SKETCH_WIDTH

from ..statistics import slow
from ..statistics.clouds import CLOUDS, gaussian


def summary_of(inputs: np.ndarray, batch: int = 7, seed: int = 0, *, tensors: bool = False) -> InputSummary:
    summary = InputSummary(seed=seed)
    whole: Any = torch.from_numpy(inputs) if tensors else inputs
    for start in range(0, len(inputs), batch):
        summary.update(whole[start : start + batch], np.arange(start, min(start + batch, len(inputs))))
    return summary


def numbers(summary: InputSummary) -> dict[str, float]:
    return {name: found.value for name, found in summary.measurements().items()}


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("batch", [1, 7, 1000])
@pytest.mark.parametrize("tensors", [False, True])
def test_equals_the_definitions(name: str, batch: int, tensors: bool) -> None:
    rows = CLOUDS[name]()
    got = numbers(summary_of(rows, batch, tensors=tensors))
    np.testing.assert_allclose(got["input_mean_cosine"], slow.mean_cosine(rows), rtol=1e-9)
    np.testing.assert_allclose(got["input_relative_spread"], slow.relative_spread(rows), rtol=1e-9)
    assert got["distinct_inputs"] == slow.distinct_rows(rows)
    np.testing.assert_allclose(got["input_effective_rank"], slow.effective_rank(slow.unit(rows)), rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("tensors", [False, True])
def test_images_of_any_shape_and_dtype(dtype: type, tensors: bool) -> None:
    images = np.random.default_rng(0).uniform(0, 1, (60, 3, 12, 12)).astype(dtype)
    images[::9] = 0  # black
    images[4] = images[5]
    images[7] *= dtype(1e-4)  # nearly black
    got, rows = numbers(summary_of(images, tensors=tensors)), images.reshape(60, -1)
    assert got["distinct_inputs"] == slow.distinct_rows(rows)
    np.testing.assert_allclose(got["input_mean_cosine"], slow.mean_cosine(rows), rtol=1e-9)
    np.testing.assert_allclose(got["input_relative_spread"], slow.relative_spread(rows), rtol=1e-9)
    np.testing.assert_allclose(got["input_effective_rank"], slow.effective_rank(slow.unit(rows)), rtol=0.15)
    lengths = np.sqrt((rows.astype(np.float64) ** 2).sum(1))
    np.testing.assert_allclose(got["input_norm_median"], np.median(lengths), rtol=0.1)  # of sketched rows


def test_rank_and_neighbours_come_from_a_sketch() -> None:
    rows = gaussian(200, 4 * SKETCH_WIDTH, alpha=1.0)
    summary = summary_of(rows)
    geometry = summary.geometry
    assert geometry is not None and geometry.folded.dimension == SKETCH_WIDTH
    np.testing.assert_allclose(
        numbers(summary)["input_effective_rank"], slow.effective_rank(slow.unit(rows)), rtol=0.15
    )
    order = np.argsort(geometry.folded.sample["index"])
    np.testing.assert_allclose(geometry.folded.sample["rows"][order], geometry.sketch(rows), atol=1e-12)


def test_black_images_have_no_direction_in_the_sketch_either() -> None:
    images = np.random.default_rng(0).uniform(0, 1, (60, 600)).astype(np.float32)
    images[1::3] = 0
    summary = summary_of(images)
    numbers(summary)
    assert summary.geometry is not None
    assert summary.geometry.folded.zero_rows == 20 and summary.geometry.unit.n == 40


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.bool_])
def test_of_token_ids_only_the_distinct_ones_are_counted(dtype: type) -> None:
    tokens = np.random.default_rng(0).integers(0, 2, (40, 5)).astype(dtype)
    assert numbers(summary_of(tokens)) == {"distinct_inputs": slow.distinct_rows(tokens)}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, (np.inf, -np.inf)])
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_inputs_that_are_not_finite_are_left_out_of_the_geometry(bad: float | tuple[float, float], batch: int) -> None:
    rows = gaussian(40, 6).astype(np.float32)
    good = np.delete(rows, [3, 17], axis=0)
    rows[[3, 17], :2] = bad
    got = numbers(summary_of(rows, batch))
    np.testing.assert_allclose(got["input_mean_cosine"], slow.mean_cosine(good), rtol=1e-9)
    np.testing.assert_allclose(got["input_relative_spread"], slow.relative_spread(good), rtol=1e-9)
    assert got["distinct_inputs"] == 40


def test_nothing_but_nan() -> None:
    assert numbers(summary_of(np.full((5, 3), np.nan))) == {"distinct_inputs": 1}


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_inputs(n: int) -> None:
    got = numbers(summary_of(gaussian(n, 4)))
    assert got["distinct_inputs"] == n
    assert ("input_mean_cosine" in got) == ("input_relative_spread" in got) == (n > 1)
    assert ("input_norm_median" in got) == (n > 0)


def test_empty_batches_are_nothing() -> None:
    summary = InputSummary()
    for shape in ((0, 3), (0, 3, 4), (2, 0)):
        summary.update(np.zeros(shape), np.arange(shape[0]))
    assert numbers(summary) == {"distinct_inputs": 0}


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_equal_inputs(value: float) -> None:
    got = numbers(summary_of(np.full((30, 500), value, np.float32)))
    assert got["distinct_inputs"] == 1 and got["input_relative_spread"] == 0
    assert "input_effective_rank" not in got
    assert ("input_mean_cosine" in got) == (value > 0) and got.get("input_mean_cosine", 1) == 1


def test_long_rows_of_tensors_need_no_square_of_their_length() -> None:
    """A square of 300,000 would take 670 GiB."""
    rows = gaussian(3, 300_000) + 1
    got = numbers(summary_of(rows, tensors=True))
    np.testing.assert_allclose(got["input_mean_cosine"], slow.mean_cosine(rows), rtol=1e-9)
