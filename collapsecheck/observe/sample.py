"""Numbers that need pairs of rows, taken on the reservoir sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from collapsecheck.statistics import class_structure, jackknife, nulls
from collapsecheck.statistics.measurement import Measurement
from collapsecheck.statistics.moments import Array
from collapsecheck.statistics.neighbours import (
    nearest,
    neighbour_ratio,
    pair_cosines,
    pair_sample,
    tight_groups,
    unit_deviations,
    unit_rows,
)
from collapsecheck.statistics.spectrum import entropy_rank

NEIGHBOURS = 5
QUANTILES = {"q01": 0.01, "q05": 0.05, "q50": 0.5, "q95": 0.95, "q99": 0.99}

# Rows closer than this share of the typical distance are practically one: no retrieval tells them apart. Even
# 2000 rows on a line have neighbours several times farther away.
SAME = 1e-4
# Rows closer than this share sit in one tight group; a continuous cloud of 2000 rows reaches it only below
# about two and a half dimensions.
TIGHT = 0.05


@dataclass
class PairSample:
    """Rows [m, D] drawn from the embeddings, with labels [m] or None, and everything that needs pairs of them."""

    rows: NDArray[np.generic]
    labels: NDArray[np.intp] | None = None

    @cached_property
    def unit(self) -> Array:
        """Unit rows; zero rows are left out."""
        rows = unit_rows(self.rows)
        return rows[np.any(rows != 0, axis=1)]

    def rank_without(self, dimension: int | None) -> float:
        """Effective rank (Roy & Vetterli 2007) of the centred unit rows, with one dimension left out."""
        rows = unit_rows(self.rows if dimension is None else np.delete(self.rows, dimension, axis=1))
        return entropy_rank(np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)) if len(rows) > 1 else math.nan

    @cached_property
    def centred(self) -> Array:
        """Unit rows seen from their mean, scaled to length 1 again."""
        return unit_rows(self.deviations)

    @cached_property
    def pairs(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Pairs of rows, all of them or 100 000."""
        return pair_sample(len(self.unit))

    @cached_property
    def cosines(self) -> Array:
        """Cosine of each pair."""
        return pair_cosines(self.unit, self.pairs)

    @cached_property
    def deviations(self) -> Array:
        """Unit rows minus their mean: distances between them are distances between the directions."""
        return unit_deviations(self.rows)

    @cached_property
    def typical_distance(self) -> float:
        """Median distance between two unit rows (0 when more than half of the pairs coincide)."""
        first, second = self.pairs
        distances = [
            np.linalg.norm(self.deviations[first[i : i + 8192]] - self.deviations[second[i : i + 8192]], axis=1)
            for i in range(0, len(first), 8192)
        ]
        return float(np.median(np.concatenate(distances))) if len(first) else math.nan

    @cached_property
    def _nearest(self) -> tuple[NDArray[np.intp], Array]:
        scale = float(np.abs(self.deviations).max(initial=0)) or 1.0
        indices, distances = nearest(self.deviations / scale, NEIGHBOURS)
        return indices, distances * scale

    @cached_property
    def largest_distance(self) -> float:
        """Root-mean-square distance between unit rows: the scale for tight groups."""
        return math.sqrt(2 * float((self.deviations**2).sum(1).mean())) if len(self.unit) else math.nan

    @cached_property
    def same_share(self) -> float:
        """Share of rows (as they are, not scaled to length 1) with another one practically on top, in [0, 1]."""
        if len(self.rows) < 3:
            return math.nan
        rows = np.asarray(self.rows, dtype=np.float64)
        rows = rows - rows.mean(0)
        typical = math.sqrt(2 * float((rows**2).sum(1).mean()))
        if not typical > 0:
            return math.nan
        _, distances = nearest(rows / typical)
        return float((distances[:, 0] <= SAME).mean())

    @cached_property
    def groups(self) -> NDArray[np.intp]:
        """Tight groups of rows [m] (single linkage at 5 % of the typical distance)."""
        return tight_groups(*self._nearest, TIGHT * self.largest_distance)

    @property
    def group_number(self) -> float:
        """Effective number of tight groups of the rows as they are, exp of the entropy of their shares, ≥ 1.

        Rows along a line or in a plane form one group (their unit rows may form two): a continuum is no group.
        """
        rows = np.asarray(self.rows, dtype=np.float64)
        rows = rows - rows.mean(0)
        typical = math.sqrt(2 * float((rows**2).sum(1).mean())) if len(rows) > 2 else 0.0
        if not typical > 0:
            return 1.0
        indices, distances = nearest(rows / typical, NEIGHBOURS)
        return entropy_rank(np.unique(tight_groups(indices, distances, TIGHT), return_counts=True)[1].astype(float))

    def measurements(self, intrinsic_dimension: float) -> dict[str, Measurement]:
        """All sample metrics that can be had; `intrinsic_dimension` sets the null of the neighbour ratio."""
        n = len(self.unit)
        if n < 3:
            return {}
        found = {
            f"cosine_{name}": Measurement(value=float(value))
            for name, value in zip(QUANTILES, np.quantile(self.cosines, list(QUANTILES.values())), strict=True)
        }
        if np.any(self.centred):
            found["centred_cosine_std"] = Measurement(
                value=float(pair_cosines(self.centred, self.pairs).std()), null=nulls.cosine_std(self.unit.shape[1])
            )
        found["nearest_neighbour_ratio"] = Measurement(
            value=neighbour_ratio(self._nearest[1][:, 0], self.typical_distance),
            null=nulls.neighbour_ratio(n, intrinsic_dimension),
        )
        found["same_share"] = Measurement(value=self.same_share)
        found["tight_groups"] = Measurement(value=float(len(np.unique(self.groups))))
        if self.labels is not None:
            found.update(self._class_measurements())
        return found

    @property
    def known_labels(self) -> NDArray[np.intp] | None:
        """Labels of the rows of `unit`; None without at least two classes."""
        if self.labels is None:
            return None
        labels = self.labels[np.any(unit_rows(self.rows) != 0, axis=1)]
        return labels if len(np.unique(labels[labels >= 0])) > 1 else None

    def _class_measurements(self) -> dict[str, Measurement]:
        labels = self.known_labels
        if labels is None:
            return {}
        kept = labels >= 0
        rows, labels = self.deviations[kept], labels[kept]
        n, classes, chance = len(rows), len(np.unique(labels)), class_structure.chance(labels)
        scale = float(np.abs(rows).max(initial=0)) or 1.0
        neighbours, _ = nearest(rows / scale, NEIGHBOURS)
        accuracy = class_structure.neighbour_accuracy(neighbours, labels)
        centre = class_structure.nearest_centre_accuracy(rows / scale, labels)
        return {
            "between_class_share": Measurement(
                value=class_structure.between_class_share(rows / scale, labels),
                null=nulls.between_class_share(n, classes),
            ),
            "nearest_centre_accuracy": Measurement(value=centre, interval=_proportion(centre, n), null=chance),
            "neighbour_accuracy": Measurement(value=accuracy, interval=_proportion(accuracy, n), null=chance),
        }


def _proportion(share: float, n: int) -> tuple[float, float] | None:
    return jackknife.wilson(share * n, n) if math.isfinite(share) else None
