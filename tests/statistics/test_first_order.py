from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from collapsecheck.statistics import cosine, spread
from collapsecheck.statistics.first_order import add_first_order, add_first_order_tensors
from collapsecheck.statistics.moments import Moments

from . import slow
from .clouds import CLOUDS


def first_order(rows: np.ndarray, batch: int, *, tensors: bool) -> tuple[Moments, Moments]:
    pivot: Any = rows[:batch].mean(0, dtype=np.float64)
    length = np.linalg.norm(pivot)
    whole: Any = torch.from_numpy(rows) if tensors else rows
    pivot = torch.from_numpy(pivot) if tensors else pivot
    raw = Moments.about(pivot, second_order=False)
    unit = Moments.about(pivot / length if length > 0 else pivot, second_order=False)
    for start in range(0, len(rows), batch):
        part = whole[start : start + batch]
        if tensors:
            add_first_order_tensors(raw, unit, part, torch.ones(len(part), dtype=torch.bool))
        else:
            add_first_order(raw, unit, part)
    return raw.on_host(), unit.on_host()


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("batch", [1, 7, 100])
@pytest.mark.parametrize("tensors", [False, True])
def test_first_order_sums_equal_the_definitions(name: str, batch: int, tensors: bool) -> None:
    rows = CLOUDS[name]()
    raw, unit = first_order(rows, batch, tensors=tensors)
    assert (raw.n, unit.n) == (len(rows), len(slow.unit(rows)))
    np.testing.assert_allclose(spread.relative_spread(raw), slow.relative_spread(rows), rtol=1e-9)
    np.testing.assert_allclose(cosine.mean_cosine_gap(unit), slow.mean_cosine_gap(rows), rtol=1e-9)


@pytest.mark.parametrize("short", [0.0, 1e-30, 1e-8, 1e-3, 0.5])
@pytest.mark.parametrize("tensors", [False, True])
def test_rows_much_shorter_than_the_pivot_keep_their_direction(short: float, tensors: bool) -> None:
    rows = np.random.default_rng(0).uniform(0, 1, (60, 300)).astype(np.float32)
    rows[1::3] *= np.float32(short)  # black and nearly black pictures
    raw, unit = first_order(rows, 7, tensors=tensors)
    assert unit.n == (40 if short == 0 else 60)
    np.testing.assert_allclose(cosine.mean_cosine(unit), slow.mean_cosine(rows), rtol=1e-10)
    np.testing.assert_allclose(spread.relative_spread(raw), slow.relative_spread(rows), rtol=1e-10)


def test_rows_that_are_not_kept_leave_no_trace() -> None:
    rows = np.random.default_rng(0).uniform(0, 1, (60, 30))
    holes = rows.copy()
    holes[::7, 3] = np.nan
    holes[1::7, 5] = np.inf
    kept = np.isfinite(holes).all(1)
    sums = Moments.about(torch.from_numpy(rows.mean(0)), second_order=False)
    pivot = torch.from_numpy(rows.mean(0) / np.linalg.norm(rows.mean(0)))
    unit = Moments.about(pivot, second_order=False)
    add_first_order_tensors(sums, unit, torch.from_numpy(holes), torch.from_numpy(kept))
    assert (sums.on_host().n, unit.on_host().n) == (kept.sum(), kept.sum())
    np.testing.assert_allclose(spread.relative_spread(sums.on_host()), slow.relative_spread(rows[kept]), rtol=1e-12)
    np.testing.assert_allclose(cosine.mean_cosine(unit.on_host()), slow.mean_cosine(rows[kept]), rtol=1e-12)
