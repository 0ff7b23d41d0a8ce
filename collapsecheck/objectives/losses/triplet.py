"""Triplets that violate a margin."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from collapsecheck.objectives import Objective, library


class Triplet(Objective):
    """Mean over all triplets that violate the margin (Schroff et al. 2015), of distances between rows as they are.

    All items in one point cost exactly the margin.
    """

    WORDS = ("triplet", "semihard")
    LABELS = True
    MARGIN = 0.2
    TARGET = 0.0

    def loss(self, rows: Tensor, labels: Any, views: Any) -> Tensor:  # noqa: ARG002
        """Mean over the triplets with a loss above zero."""
        library()
        from pytorch_metric_learning.distances import LpDistance
        from pytorch_metric_learning.losses import TripletMarginLoss

        loss = TripletMarginLoss(margin=self.margin, distance=LpDistance(normalize_embeddings=False))
        value: Tensor = loss(rows, labels)
        return value
