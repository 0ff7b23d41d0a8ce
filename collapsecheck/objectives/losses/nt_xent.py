"""Normalised temperature-scaled cross-entropy."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from collapsecheck.objectives import Objective, library


class NtXent(Objective):
    """Each view against all others, the other view of the same item being right (Chen et al. 2020); of cosines.

    All items in one point cost ln(2n − 1), which is chance.
    """

    WORDS = ("ntxent", "infonce", "simclr", "clip", "multiplenegatives")
    VIEWS = True
    TEMPERATURE = 0.1
    TARGET = 0.0

    def loss(self, rows: Tensor, labels: Any, views: Any) -> Tensor:  # noqa: ARG002
        """Mean over the views."""
        library()
        from pytorch_metric_learning.losses import NTXentLoss, SelfSupervisedLoss

        value: Tensor = SelfSupervisedLoss(NTXentLoss(temperature=self.temperature))(rows, views)
        return value
