"""Everything collapsecheck remembers of the embeddings it has seen: bounded, exact, mergeable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collapsecheck.observe.buffer import RowBuffer
from collapsecheck.statistics.blocks import BLOCKS, BlockedMoments, blocks_of
from collapsecheck.statistics.distinct import DistinctRows, DistinctValues
from collapsecheck.statistics.hashing import bit_patterns, hash_rows, hash_values, priorities
from collapsecheck.statistics.moments import parts_in_cache, squared_lengths
from collapsecheck.statistics.reservoir import Reservoir
from collapsecheck.statistics.spread import EPSILON

SAMPLE_ROWS = 2048  # for everything that needs pairs: 2048² distances take a fraction of a second
NORM_ROWS = 65_536  # norms are exact up to here, then from a sample of this size
# Rows are taken in together, so that each of the 16 blocks gets a matrix product worth the name.
BUFFER_ROWS = 32_768
BUFFER_VALUES = 16_777_216
FIRST_ROWS = 256  # from a device values are looked at in portions that begin with so many rows
LISTED_ROWS = 20  # non-finite rows named in reports
LARGEST = 1e75  # the fourth power of a larger value is not finite


@dataclass(slots=True)
class EmbeddingSummary:
    """Mergeable sums over all embeddings seen: raw rows, unit rows, hashes, norms and a reservoir sample.

    Results do not depend on the batch size, the order of the rows or on how they were sharded, provided each
    row keeps its item number (`indices`). Rows with NaN, Inf or values beyond 1e75 are counted, listed and left
    out; zero rows are counted and left out of the unit rows, since they have no direction.

    Parameters
    ----------
    dimension : D, length of a row.
    seed : chooses the sample and the blocks of the jackknife.
    counted : whether distinct rows and values are counted.
    """

    dimension: int
    seed: int = 0
    counted: bool = True
    rows_seen: int = 0
    dtype: str = "float32"  # the coarsest dtype rows came in: sets the rounding floor
    non_finite: int = 0
    non_finite_rows: list[int] = field(default_factory=list)
    zero_rows: int = 0
    raw: BlockedMoments = field(init=False)
    unit: BlockedMoments = field(init=False)
    minimum: NDArray[np.float64] = field(init=False)
    maximum: NDArray[np.float64] = field(init=False)
    distinct_rows: DistinctRows = field(default_factory=DistinctRows)
    distinct_values: DistinctValues = field(init=False)
    norms: Reservoir = field(default_factory=lambda: Reservoir(NORM_ROWS))
    sample: Reservoir = field(default_factory=lambda: Reservoir(SAMPLE_ROWS))
    labelled: bool = False
    buffer: RowBuffer = field(init=False)
    space: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        self.raw = BlockedMoments(self.dimension)
        self.unit = BlockedMoments(self.dimension)
        self.minimum = np.full(self.dimension, np.inf)
        self.maximum = np.full(self.dimension, -np.inf)
        self.distinct_values = DistinctValues(self.dimension)
        self.buffer = RowBuffer(min(BUFFER_ROWS, max(BUFFER_VALUES // self.dimension, 1024)))

    def update(
        self,
        rows: Any,
        indices: NDArray[np.int64] | None = None,
        labels: NDArray[np.int64] | None = None,
    ) -> None:
        """Take in rows [m, D]: a numpy array, or a tensor on any device.

        Parameters
        ----------
        indices : item numbers [m]; by default the rows are numbered as they come.
        labels : class numbers [m], −1 for unknown; either always or never given.
        """
        if rows.ndim != 2 or rows.shape[1] != self.dimension:
            raise ValueError(f"expected rows [n, {self.dimension}], got shape {tuple(rows.shape)}")
        if indices is None:
            indices = np.arange(self.rows_seen, self.rows_seen + len(rows))
        self.rows_seen += len(rows)
        self.labelled = labels is not None
        if not self.buffer.fits(rows):
            self.flush()
        while len(rows):
            taken = self.buffer.put(rows, indices, labels)
            rows, indices, labels = rows[taken:], indices[taken:], None if labels is None else labels[taken:]
            if self.buffer.full:
                self.flush()

    def flush(self) -> None:
        """Take the buffered rows into the sums; called by every read-out."""
        if not self.buffer.count:
            return
        rows, index, labels = self.buffer.empty()
        label = labels if self.labelled else None
        rows = _measurable(rows)
        least, most = _extremes(rows)
        if not _all_finite(least, most):
            finite = finite_rows(_on_host(rows))
            self.non_finite += int((~finite).sum())
            self.non_finite_rows = sorted([*self.non_finite_rows, *index[~finite].tolist()])[:LISTED_ROWS]
            rows, index = rows[_mask(finite, rows)], index[finite]
            label = None if label is None else label[finite]
            if len(rows):
                least, most = _extremes(rows)
        if len(rows):
            self.minimum, self.maximum = np.minimum(self.minimum, least), np.maximum(self.maximum, most)
            self._take(rows, index, label)

    def _take(self, rows: Any, index: NDArray[np.int64], label: NDArray[np.int64] | None) -> None:
        if self.raw.hosted:  # once merged, sums stay on the host
            rows = _on_host(rows)
        rank = priorities(index, self.seed)
        block_ids = (rank % np.uint64(BLOCKS)).astype(np.intp)
        if self.counted:
            self._take_values(rows)
        norms = self._take_moments(rows, block_ids)
        chosen = self.sample.wanted(rank)
        columns = {"rows": _on_host(rows[_mask(chosen, rows)]), "index": index[chosen]}
        if label is not None:
            columns["labels"] = label[chosen]
        self.sample.offer(rank[chosen], **columns)
        self.norms.offer(rank, norms=norms)
        self.zero_rows += int((norms == 0).sum())

    def _take_values(self, rows: Any) -> None:
        hashes = np.empty(len(rows), np.uint64)
        for part in parts_in_cache(rows) if isinstance(rows, np.ndarray) else _growing(len(rows)):
            words = bit_patterns(rows[part])
            hashes[part] = hash_rows(words)
            self.distinct_values.add(hash_values(words))
        self.distinct_rows.add(hashes)

    def _take_moments(self, rows: Any, block_ids: NDArray[np.intp]) -> NDArray[np.float64]:
        """Take rows into the raw and the unit sums; returns their norms [m]."""
        norms = np.empty(len(rows))
        blocks = blocks_of(block_ids)
        space, units = self._working_space(rows, max(map(len, blocks)))
        for block, chosen in enumerate(blocks):
            alive = 0
            for part in parts_in_cache(space, len(chosen)):  # step by step while it is in the cache
                exact = space[part]
                exact[:] = rows[_mask(chosen[part], rows)]
                lengths = squared_lengths(exact) ** 0.5
                norms[chosen[part]] = _on_host(lengths)
                moving = lengths > 0
                all_move = bool(moving.all())
                unit = units[alive : alive + (len(exact) if all_move else int(moving.sum()))]
                unit[:] = exact if all_move else exact[moving]
                unit *= (1 / (lengths if all_move else lengths[moving]))[:, None]
                alive += len(unit)
                self.unit.shift(unit, block)
                self.raw.shift(exact, block)
            self.unit.multiply(units[:alive], block)
            self.raw.multiply(space[: len(chosen)], block)
        return norms

    def _working_space(self, rows: Any, count: int) -> tuple[Any, Any]:
        """Room for `count` rows in double precision, twice: fresh memory would cost more than the arithmetic."""
        if len(self.space) != 2 or type(self.space[0]) is not type(rows) or len(self.space[0]) < count:
            room = min(len(rows), count + count // 4)  # the next one may be a little larger
            self.space = (_double(rows[:room]), _double(rows[:room]))
        return self.space[0], self.space[1]

    def merge(self, other: EmbeddingSummary) -> None:
        """Take in everything another summary of the same dimension and seed has seen."""
        if (self.dimension, self.seed) != (other.dimension, other.seed):
            raise ValueError(
                f"cannot merge summaries of {self.dimension} and {other.dimension} dimensions "
                f"(seeds {self.seed} and {other.seed})"
            )
        self.flush()
        other.flush()
        if other.rows_seen:
            dtypes = [self.dtype, other.dtype] if self.rows_seen else [other.dtype]
            self.dtype = max(dtypes, key=EPSILON.__getitem__)
        self.rows_seen += other.rows_seen
        self.non_finite += other.non_finite
        self.non_finite_rows = sorted([*self.non_finite_rows, *other.non_finite_rows])[:LISTED_ROWS]
        self.zero_rows += other.zero_rows
        self.raw, self.unit = self.raw.on_host(), self.unit.on_host()
        self.raw.merge(other.raw)
        self.unit.merge(other.unit)
        self.minimum = np.minimum(self.minimum, other.minimum)
        self.maximum = np.maximum(self.maximum, other.maximum)
        self.distinct_rows.merge(other.distinct_rows)
        self.distinct_values.merge(other.distinct_values)
        self.norms.merge(other.norms)
        self.sample.merge(other.sample)

    @property
    def rows(self) -> int:
        """Number of finite rows."""
        return self.rows_seen - self.non_finite


def _all_finite(least: NDArray[Any], most: NDArray[Any]) -> bool:
    """Whether `finite_rows` keeps all rows, from the extremes of each dimension (NaN is one where there is any)."""
    return bool(finite_rows(least[None])[0] and finite_rows(most[None])[0])


def finite_rows(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Mask [n] of the floating-point rows whose fourth powers are finite."""
    finite = np.abs(rows) <= LARGEST if rows.dtype == np.float64 else np.isfinite(rows)
    return np.asarray(finite.all(axis=1))


def _growing(count: int) -> Iterator[slice]:
    """Parts each as long as all before: of the values of the later ones only few are among the smallest hashes."""
    start, length = 0, FIRST_ROWS
    while start < count:
        yield slice(start, min(start + length, count))
        start, length = start + length, start + length


def _measurable(rows: Any) -> Any:
    """Rows in float32 or float64, into which other types widen exactly."""
    if isinstance(rows, np.ndarray):
        return _on_host(rows)
    if rows.dtype.is_floating_point and rows.dtype.itemsize >= 4:
        return rows.detach()
    return rows.detach().float() if rows.dtype.is_floating_point else rows.detach().double()


def _extremes(rows: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Least and largest value of each dimension [D]; NaN where there is one."""
    if isinstance(rows, np.ndarray):
        return rows.min(0), rows.max(0)
    return _on_host(rows.amin(0)), _on_host(rows.amax(0))


def _on_host(rows: Any) -> NDArray[Any]:
    """Rows as a numpy array of float32 or float64 (types that numpy lacks, such as bfloat16, widen exactly)."""
    if isinstance(rows, np.ndarray):
        return rows if rows.dtype in (np.float32, np.float64) else rows.astype(np.float64)
    rows = rows.detach().cpu()
    if not rows.dtype.is_floating_point:
        rows = rows.double()
    return np.asarray((rows if rows.dtype.itemsize >= 4 else rows.float()).numpy())


def _double(rows: Any) -> Any:
    """A copy in double precision."""
    return rows.astype(np.float64) if isinstance(rows, np.ndarray) else rows.detach().clone().double()


def _mask(mask: NDArray[Any], rows: Any) -> Any:
    """An index array in the form that `rows` can be indexed by."""
    if isinstance(rows, np.ndarray):
        return mask
    import torch

    return torch.from_numpy(mask).to(rows.device)
