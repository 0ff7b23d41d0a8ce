"""Attraction alone."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from collapsecheck.objectives import Objective


class PositiveCosine(Objective):
    """Minus the cosine between two views of an item, as SimSiam and BYOL have it without what keeps them from collapse.

    Its least value, −1, is that of all items in one point (Chen & He 2021; Grill et al. 2020).
    """

    WORDS = ("positivecosine", "negativecosine", "simsiam", "byol")
    VIEWS = True
    TARGET = -1.0

    def loss(self, rows: Tensor, labels: Any, views: Any) -> Tensor:  # noqa: ARG002
        """Mean over the items."""
        return -functional.cosine_similarity(rows, views).mean()
