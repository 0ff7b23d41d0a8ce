from __future__ import annotations

import numpy as np
import pytest
import torch

from collapsecheck.statistics import spectrum
from collapsecheck.statistics.blocks import BLOCK_WIDTH, BLOCKS, BlockedMoments, blocks_of
from collapsecheck.statistics.moments import moments_of

from . import slow
from .clouds import gaussian
from .test_moments import same


def blocked(rows: np.ndarray, tensors: bool = False) -> BlockedMoments:
    sums = BlockedMoments(rows.shape[1])
    for block in range(BLOCKS):
        part = rows[block::BLOCKS]
        sums.add(torch.from_numpy(part.copy()) if tensors else part.copy(), block)
    return sums


def test_the_blocks_add_up_and_each_can_be_left_out() -> None:
    rows = gaussian(200, 6) + 5
    sums = blocked(rows)
    same(sums.total, moments_of(rows))
    assert sums.total is not sums.whole and len(sums.left_out()) == BLOCKS
    for block, rest in enumerate(sums.left_out()):
        same(rest, moments_of(np.delete(rows, np.arange(block, 200, BLOCKS), 0)), rtol=1e-11)


@pytest.mark.parametrize("d", [6, BLOCK_WIDTH + 88])
@pytest.mark.parametrize("tensors", [False, True])
def test_merging_is_the_same_as_adding(d: int, tensors: bool) -> None:
    rows = gaussian(100, d, alpha=1.0) + 1
    merged = BlockedMoments(d)
    for part in (rows[:40], rows[40:40], rows[40:]):
        other = blocked(part, tensors)
        before = None if not other.blocks else other.on_host().total
        merged.merge(other)
        if before is not None:
            same(other.on_host().total, before, rtol=0)
    same(merged.total, moments_of(rows))
    same(merged.folded, moments_of(merged.sketch(rows)))


def test_wide_rows_have_exact_totals_and_folded_blocks() -> None:
    rows = gaussian(80, BLOCK_WIDTH + 88, alpha=1.0)
    sums = blocked(rows)
    same(sums.total, moments_of(rows))
    assert sums.folded.pivot.shape == (BLOCK_WIDTH,)
    same(sums.folded, moments_of(sums.sketch(rows)))
    np.testing.assert_allclose(sums.folded.total_variance, slow.total_variance(rows), rtol=0.2)
    np.testing.assert_allclose(
        spectrum.effective_rank(spectrum.eigenvalues(sums.folded)), slow.effective_rank(rows), rtol=0.1
    )


def test_no_rows_at_all() -> None:
    sums = BlockedMoments(3)
    sums.add(np.zeros((0, 3)), 4)
    assert not sums.blocks and not sums.hosted and sums.left_out() == [] and sums.total.n == sums.folded.n == 0


def test_positions_by_block() -> None:
    positions = blocks_of(np.array([3, 0, 3, 15, 0]))
    assert len(positions) == BLOCKS
    assert [part.tolist() for part in (positions[0], positions[3], positions[15])] == [[1, 4], [0, 2], [3]]
    assert sum(map(len, positions)) == 5 and all(len(part) == 0 for part in blocks_of(np.zeros(0, np.intp)))
