from __future__ import annotations

import numpy as np
import pytest
import torch

from collapsecheck.statistics.sketch import CountSketch

from .clouds import gaussian


@pytest.mark.parametrize("dimension", [1, 5, 8])
def test_short_rows_pass_unchanged(dimension: int) -> None:
    sketch = CountSketch.of(dimension, 8)
    rows = gaussian(3, dimension)
    assert sketch.identity and sketch(rows) is rows


@pytest.mark.parametrize("dimension", [9, 16, 50])
def test_is_the_signed_sum_of_coordinates_with_the_same_remainder(dimension: int) -> None:
    sketch = CountSketch.of(dimension, 8)
    rows = gaussian(4, dimension)
    want = np.zeros((4, 8))
    for d in range(dimension):
        want[:, d % 8] += sketch.signs[d] * rows[:, d]
    np.testing.assert_allclose(sketch(rows), want, atol=1e-14)
    tensors = sketch(torch.from_numpy(rows), torch.from_numpy(sketch.signs))
    np.testing.assert_allclose(tensors.numpy(), want, atol=1e-14)
    assert not sketch.identity


def test_signs_are_fair_and_always_the_same() -> None:
    first, second = CountSketch.of(10_000, 64), CountSketch.of(10_000, 64)
    np.testing.assert_array_equal(first.signs, second.signs)
    assert abs(first.signs.mean()) < 0.04 and set(first.signs) == {-1.0, 1.0}


def test_inner_products_are_kept_on_average() -> None:
    """Unbiased over random signs, with a relative deviation of about √(2/width)."""
    x, y = gaussian(1, 300, 1)[0], gaussian(1, 300, 2)[0]
    y = x + 0.3 * y
    products = []
    for seed in range(2000):
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], 300)
        a, b = CountSketch(300, 32, signs)(np.stack([x, y]))
        products.append(a @ b)
    error = np.std(products) / 2000**0.5
    assert abs(np.mean(products) - x @ y) < 4 * error
    assert np.std(products) < 1.5 * (2 / 32) ** 0.5 * np.linalg.norm(x) * np.linalg.norm(y)
