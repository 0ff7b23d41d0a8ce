"""What went into the model: the yardstick for everything that came out of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from collapsecheck.observe.summary import EmbeddingSummary
from collapsecheck.statistics import cosine, spectrum, spread
from collapsecheck.statistics.distinct import DistinctRows
from collapsecheck.statistics.hashing import bit_patterns, hash_rows
from collapsecheck.statistics.measurement import Measurement
from collapsecheck.statistics.moments import Moments
from collapsecheck.statistics.sketch import CountSketch

SKETCH_WIDTH = 256


@dataclass(slots=True)
class InputSummary:
    """Mergeable sums over the inputs as the model receives them, of any size: O(D) memory.

    Cosine, spread and the number of distinct inputs are exact. Rank and neighbours, which would need O(D²),
    come from a count sketch of 256 coordinates. Integer inputs (token ids) have no geometry: only distinct
    inputs are counted.
    """

    seed: int = 0
    distinct: DistinctRows = field(default_factory=DistinctRows)
    raw: Moments | None = None
    unit: Moments | None = None
    folded: EmbeddingSummary | None = None
    sketch: CountSketch | None = None

    def update(self, inputs: NDArray[np.generic], indices: NDArray[np.int64]) -> None:
        """Take in inputs [m, ...] with their item numbers [m]."""
        rows = inputs.reshape(len(inputs), -1)
        if not rows.size:
            return
        self.distinct.add(hash_rows(bit_patterns(rows)))
        if not np.issubdtype(rows.dtype, np.floating) or not np.isfinite(rows.sum(dtype=np.float64)):
            return
        if self.sketch is None:
            self.sketch = CountSketch.of(rows.shape[1], SKETCH_WIDTH)
            self.folded = EmbeddingSummary(self.sketch.width, seed=self.seed)
        exact = rows.astype(np.float64)
        lengths = np.sqrt(np.einsum("ij,ij->i", exact, exact))[:, None]
        unit = np.divide(exact, lengths, out=np.zeros_like(exact), where=lengths > 0)
        if self.raw is None or self.unit is None:
            self.raw = Moments.about(exact.mean(0), second_order=False)
            self.unit = Moments.about(unit.mean(0), second_order=False)
        self.raw.add(exact)
        self.unit.add(unit[lengths[:, 0] > 0])
        if self.folded is not None:
            self.folded.update(self.sketch(exact), indices)

    def measurements(self) -> dict[str, Measurement]:
        """Metrics of the inputs, named `input_…`, those that can be had."""
        found = {"distinct_inputs": Measurement(value=self.distinct.count)}
        if self.raw is None or self.unit is None or self.folded is None:
            return found
        self.folded.flush()
        eigenvalues = spectrum.eigenvalues(self.folded.unit.total)
        values = {
            "input_mean_cosine": cosine.mean_cosine(self.unit),
            "input_relative_spread": spread.relative_spread(self.raw),
            "input_effective_rank": spectrum.effective_rank(eigenvalues),
            "input_norm_median": float(np.median(self.folded.norms["norms"].astype(np.float64))),
        }
        return found | {k: Measurement(value=v) for k, v in values.items() if math.isfinite(v)}
