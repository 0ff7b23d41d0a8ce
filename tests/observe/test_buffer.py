from __future__ import annotations

import numpy as np
import pytest
import torch

from collapsecheck.observe import EmbeddingSummary
from collapsecheck.observe.buffer import RowBuffer

from ..statistics.clouds import gaussian


@pytest.mark.parametrize("tensors", [False, True])
def test_takes_what_fits_and_gives_it_back_in_order(tensors: bool) -> None:
    rows = torch.from_numpy(gaussian(10, 3)) if tensors else gaussian(10, 3)
    buffer = RowBuffer(7)
    assert buffer.put(rows[:4], np.arange(4), None) == 4 and not buffer.full
    assert buffer.put(rows[4:], np.arange(4, 10), np.arange(6)) == 3 and buffer.full
    held, indices, labels = buffer.empty()
    np.testing.assert_array_equal(np.asarray(held), gaussian(10, 3)[:7])
    assert indices.tolist() == list(range(7)) and labels.tolist() == [-1] * 4 + [0, 1, 2]
    assert buffer.count == 0 and buffer.put(rows[7:], np.arange(7, 10), None) == 3


def test_only_rows_of_one_kind_lie_together() -> None:
    rows = gaussian(4, 3)
    buffer = RowBuffer(8)
    assert not buffer.fits(rows)
    buffer.put(rows, np.arange(4), None)
    assert buffer.fits(rows[:1])
    for other in (rows.astype(np.float32), torch.from_numpy(rows)):
        assert not buffer.fits(other)


def test_memory_may_be_used_again_by_whoever_delivers() -> None:
    rows, memory = gaussian(40, 3), np.empty((10, 3))
    summary, want = EmbeddingSummary(3), EmbeddingSummary(3)
    want.update(rows)
    for part in np.split(rows, 4):
        memory[:] = part
        summary.update(memory)
    for each in (summary, want):
        each.flush()
    np.testing.assert_array_equal(summary.sample["rows"], want.sample["rows"])


def test_a_change_of_precision_on_the_way_loses_nothing() -> None:
    rows = gaussian(40, 3).astype(np.float32)
    summary = EmbeddingSummary(3)
    for part in (rows[:10], rows[10:20].astype(np.float64), rows[20:]):
        summary.update(part)
    summary.flush()
    assert summary.rows == summary.raw.total.n == len(summary.sample) == 40
    np.testing.assert_allclose(summary.raw.total.mean, rows.mean(0, dtype=np.float64), rtol=1e-12)


def test_tensors_do_not_drag_a_graph_along() -> None:
    buffer = RowBuffer(8)
    for _ in range(2):
        buffer.put(torch.ones(3, 2, requires_grad=True), np.arange(3), None)
    assert not buffer.empty()[0].requires_grad
