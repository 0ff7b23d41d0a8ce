"""Supervised contrastive loss."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from collapsecheck.objectives import Objective, library


class SupCon(Objective):
    """Each item against all others, those of its class being right (Khosla et al. 2020); of cosines.

    All items in one point cost ln(n − 1); even ideal embeddings cost the logarithm of the number of right ones.
    """

    WORDS = ("supcon", "supervisedcontrastive")
    LABELS = True
    TEMPERATURE = 0.1

    def loss(self, rows: Tensor, labels: Any, views: Any) -> Tensor:  # noqa: ARG002
        """Mean over the items that have a partner."""
        library()
        from pytorch_metric_learning.losses import SupConLoss

        value: Tensor = SupConLoss(temperature=self.temperature)(rows, labels)
        return value
