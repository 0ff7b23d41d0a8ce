"""Pairs: alike ones together, different ones a margin apart."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from collapsecheck.objectives import Objective, library


class Contrastive(Objective):
    """Distance of alike pairs, and what different ones lack to the margin (Hadsell et al. 2006, without the squares).

    Distances are between rows as they are; the mean is over the pairs with a loss above zero, alike and different ones
    apart. All items in one point cost exactly the margin.
    """

    WORDS = ("contrastive", "siamese", "hadsell", "pairloss", "cosineembedding")
    LABELS = True
    MARGIN = 1.0
    TARGET = 0.0

    def loss(self, rows: Tensor, labels: Any, views: Any) -> Tensor:  # noqa: ARG002
        """Sum of the two means."""
        library()
        from pytorch_metric_learning.distances import LpDistance
        from pytorch_metric_learning.losses import ContrastiveLoss

        distance = LpDistance(normalize_embeddings=False)
        value: Tensor = ContrastiveLoss(pos_margin=0, neg_margin=self.margin, distance=distance)(rows, labels)
        return value
