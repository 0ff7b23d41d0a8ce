"""What went into the model: the yardstick for everything that came out of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from collapsecheck.observe.summary import EmbeddingSummary, finite_rows
from collapsecheck.statistics import cosine, spectrum, spread
from collapsecheck.statistics.distinct import DistinctRows
from collapsecheck.statistics.hashing import bit_patterns, hash_rows
from collapsecheck.statistics.measurement import Measurement
from collapsecheck.statistics.moments import Moments, add_first_order
from collapsecheck.statistics.sketch import CountSketch

SKETCH_WIDTH = 256
PORTION = 65_536  # values worked on at a time: half a megabyte stays in the cache


@dataclass(slots=True)
class Geometry:
    """Sums over inputs seen as vectors [D]: exact first-order ones, and a summary of a count sketch."""

    raw: Moments
    unit: Moments
    folded: EmbeddingSummary
    sketch: CountSketch

    @classmethod
    def starting_with(cls, rows: NDArray[np.generic], seed: int) -> Geometry:
        """Empty sums about the mean of the first rows [m, D]."""
        pivot = rows.mean(0, dtype=np.float64)
        length = math.sqrt(float(pivot @ pivot))
        sketch = CountSketch.of(rows.shape[1], SKETCH_WIDTH)
        return cls(
            raw=Moments.about(pivot, second_order=False),
            unit=Moments.about(pivot / length if length > 0 else pivot, second_order=False),
            folded=EmbeddingSummary(sketch.width, seed=seed),
            sketch=sketch,
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


@dataclass(slots=True)
class InputSummary:
    """Sums over the inputs as the model receives them, of any size: O(D) memory.

    Cosine, spread and the number of distinct inputs are exact. Rank and neighbours, which would need O(D²),
    come from a count sketch of 256 coordinates. Integer inputs (token ids) and inputs with NaN or Inf have no
    geometry: of these only the distinct ones are counted.
    """

    seed: int = 0
    distinct: DistinctRows = field(default_factory=DistinctRows)
    geometry: Geometry | None = None

    def update(self, inputs: NDArray[np.generic], indices: NDArray[np.int64]) -> None:
        """Take in inputs [m, ...] with their item numbers [m]."""
        if not inputs.size:
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

    def measurements(self) -> dict[str, Measurement]:
        """Metrics of the inputs, named `input_…`, those that can be had."""
        found = {"distinct_inputs": Measurement(value=self.distinct.count)}
        if self.geometry is None:
            return found
        self.geometry.folded.flush()
        eigenvalues = spectrum.eigenvalues(self.geometry.folded.unit.total)
        values = {
            "input_mean_cosine": cosine.mean_cosine(self.geometry.unit),
            "input_relative_spread": spread.relative_spread(self.geometry.raw),
            "input_effective_rank": spectrum.effective_rank(eigenvalues),
            "input_norm_median": float(np.median(self.geometry.folded.norms["norms"].astype(np.float64))),
        }
        return found | {k: Measurement(value=v) for k, v in values.items() if math.isfinite(v)}
