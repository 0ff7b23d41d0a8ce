"""Variance, invariance, covariance."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from collapsecheck.objectives import Objective, library


class VicReg(Objective):
    """Views alike, deviations of at least 1, dimensions independent (Bardes et al. 2022, weights 25, 25, 1).

    All items in one point cost .99 of the weight of the variance, 24.75.
    """

    WORDS = ("vicreg",)
    VIEWS = True
    TARGET = 0.0

    def loss(self, rows: Tensor, labels: Any, views: Any) -> Tensor:  # noqa: ARG002
        """The three terms together."""
        library()
        from pytorch_metric_learning.losses import VICRegLoss

        value: Tensor = VICRegLoss()(rows, ref_emb=views)
        return value
