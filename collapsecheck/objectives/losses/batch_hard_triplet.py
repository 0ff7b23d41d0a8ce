"""Triplets of only the hardest positive and negative."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from collapsecheck.objectives import Objective, library


class BatchHardTriplet(Objective):
    """The farthest of its class against the nearest of another, for each item (Hermans et al. 2017).

    Distances are between rows as they are. All items in one point cost exactly the margin; while the nearest negative
    is nearer than the farthest positive, which is so for nearly every batch at the start, less distance costs less.
    """

    WORDS = ("batchhard", "hardesttriplet", "hardtriplet", "hardmining", "hardestnegative", "hardnegative")
    LABELS = True
    MARGIN = 0.2
    TARGET = 0.0

    def loss(self, rows: Tensor, labels: Any, views: Any) -> Tensor:  # noqa: ARG002
        """Mean over the items."""
        library()
        from pytorch_metric_learning.distances import LpDistance
        from pytorch_metric_learning.losses import TripletMarginLoss
        from pytorch_metric_learning.miners import BatchHardMiner
        from pytorch_metric_learning.reducers import MeanReducer

        distance = LpDistance(normalize_embeddings=False)
        mined = BatchHardMiner(distance=distance)(rows, labels)
        loss = TripletMarginLoss(margin=self.margin, distance=distance, reducer=MeanReducer())
        value: Tensor = loss(rows, labels, mined)
        return value
