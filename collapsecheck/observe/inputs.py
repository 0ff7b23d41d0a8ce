"""What went into the model: the yardstick for everything that came out of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collapsecheck.observe.cloud import Cloud
from collapsecheck.observe.summary import EmbeddingSummary, finite_rows
from collapsecheck.statistics import cosine, spectrum, spread
from collapsecheck.statistics.distinct import DistinctRows
from collapsecheck.statistics.first_order import add_first_order, add_first_order_tensors
from collapsecheck.statistics.hashing import bit_patterns, hash_rows, hashes_of_sums, row_sums
from collapsecheck.statistics.measurement import Measurement
from collapsecheck.statistics.moments import Moments
from collapsecheck.statistics.sketch import CountSketch

SKETCH_WIDTH = 256
PORTION = 65_536  # values worked on at a time: half a megabyte stays in the cache
DEVICE_PORTION = 4_194_304  # on a device: 32 MiB in double precision
WAITING = 65_536  # rows whose hashes are fetched at a time


@dataclass(slots=True)
class Geometry:
    """Sums over inputs seen as vectors [D]: exact first-order ones, and a summary of a count sketch."""

    raw: Moments
    unit: Moments
    folded: EmbeddingSummary
    sketch: CountSketch
    signs: Any = None  # those of the sketch, on the device of tensors

    @classmethod
    def starting_with(cls, rows: Any, seed: int) -> Geometry:
        """Empty sums about the mean of the first rows [m, D], an array or a tensor."""
        pivot = rows.mean(0, dtype=np.float64) if isinstance(rows, np.ndarray) else rows.double().mean(0)
        length = math.sqrt(float(pivot @ pivot))
        sketch = CountSketch.of(rows.shape[1], SKETCH_WIDTH)
        return cls(
            raw=Moments.about(pivot, second_order=False),
            unit=Moments.about(pivot / length if length > 0 else pivot, second_order=False),
            folded=EmbeddingSummary(sketch.width, seed=seed, counted=False),
            sketch=sketch,
            signs=None if isinstance(rows, np.ndarray) else pivot.new_tensor(sketch.signs),
        )

    def add(self, rows: NDArray[np.generic], indices: NDArray[np.int64]) -> None:
        """Take in rows [m, D] with their item numbers."""
        step = max(1, PORTION // rows.shape[1])
        folded = []
        for start in range(0, len(rows), step):
            portion = rows[start : start + step]
            add_first_order(self.raw, self.unit, portion)
            folded.append(self.sketch(portion))
        self.folded.update(np.concatenate(folded), indices)

    def add_on_device(self, rows: Any, indices: NDArray[np.int64]) -> None:
        """Take in a tensor [m, D]; rows with NaN or Inf are left out."""
        add_first_order_tensors(self.raw, self.unit, rows, rows.isfinite().all(1))
        self.folded.update(self.sketch(rows.double(), self.signs), indices)


@dataclass(slots=True)
class InputSummary:
    """Sums over the inputs as the model receives them, of any size: O(D) memory.

    Inputs are numpy arrays, or tensors, whose sums are formed on their device while the model runs on: only a hash per
    row comes to the host, in large portions.

    Cosine, spread and the number of distinct inputs are exact. Rank and neighbours, which would need O(D²),
    come from a count sketch of 256 coordinates. Integer inputs (token ids) and inputs with NaN or Inf have no
    geometry: of these only the distinct ones are counted.
    """

    seed: int = 0
    distinct: DistinctRows = field(default_factory=DistinctRows)
    geometry: Geometry | None = None
    waiting: list[Any] = field(default_factory=list)  # sums of rows on the device, to become hashes
    waiting_count: int = 0

    def update(self, inputs: Any, indices: NDArray[np.int64]) -> None:
        """Take in inputs [m, ...] with their item numbers [m]."""
        if not math.prod(inputs.shape):
            return
        if not isinstance(inputs, np.ndarray):
            self._update_on_device(inputs.reshape(len(inputs), -1), indices)
            return
        rows = inputs.reshape(len(inputs), -1)
        self.distinct.add(hash_rows(bit_patterns(rows)))
        if not np.issubdtype(rows.dtype, np.floating):
            return
        finite = finite_rows(rows)
        if not finite.all():
            rows, indices = rows[finite], indices[finite]
        if not len(rows):
            return
        if self.geometry is None:
            self.geometry = Geometry.starting_with(rows, self.seed)
        self.geometry.add(rows, indices)

    def _update_on_device(self, rows: Any, indices: NDArray[np.int64]) -> None:
        step = max(1, DEVICE_PORTION // rows.shape[1])
        for start in range(0, len(rows), step):
            portion = rows[start : start + step]
            self.waiting.append(row_sums(bit_patterns(portion)))
            if not rows.dtype.is_floating_point:
                continue
            if self.geometry is None:
                finite = portion[portion.isfinite().all(1)]
                if not len(finite):
                    continue
                self.geometry = Geometry.starting_with(finite, self.seed)
            self.geometry.add_on_device(portion, indices[start : start + step])
        self.waiting_count += len(rows)
        if self.waiting_count >= WAITING:
            self.flush()

    def flush(self) -> None:
        """Fetch what waits on the device; called by every read-out."""
        for sums in self.waiting:
            self.distinct.add(hashes_of_sums(sums))
        self.waiting, self.waiting_count = [], 0
        if self.geometry is not None:
            self.geometry.folded.flush()

    def measurements(self) -> dict[str, Measurement]:
        """Metrics of the inputs, named `input_…`, those that can be had."""
        self.flush()
        found = {"distinct_inputs": Measurement(value=self.distinct.count)}
        if self.geometry is None:
            return found
        raw, unit, folded = self.geometry.raw.on_host(), self.geometry.unit.on_host(), self.geometry.folded
        cloud = Cloud(folded.raw.on_host().total, folded.unit.on_host().total)
        values = {
            "input_mean_cosine": cosine.mean_cosine(unit),
            "input_relative_spread": spread.relative_spread(raw),
            "input_effective_rank": spectrum.effective_rank(cloud.unit_spectrum),
            "input_norm_median": float(np.median(folded.norms["norms"].astype(np.float64))),
        }
        return found | {k: Measurement(value=v) for k, v in values.items() if math.isfinite(v)}
