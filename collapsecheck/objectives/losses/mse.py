"""Mean squared error of a regression on top."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from collapsecheck.objectives import Objective
from collapsecheck.objectives.heads import class_scores


class MeanSquaredError(Objective):
    """Squared error of class indicators; the embeddings themselves where there are as many dimensions as classes.

    Otherwise those of a linear head that is fitted to these embeddings by ridge regression. All items in one point
    cost the variance of the indicators, (1 − 1/C)/C for C classes of one size.
    """

    WORDS = ("mse", "meansquared", "squarederror", "l2loss")
    LABELS = True
    TARGET = 0.0
    NOTE = "of class indicators, through a linear head that is fitted to these embeddings"

    def loss(self, rows: Tensor, labels: Any, views: Any) -> Tensor:  # noqa: ARG002
        """Mean over items and classes."""
        classes, numbers = labels.unique(return_inverse=True)
        wanted = functional.one_hot(numbers, len(classes)).to(rows)
        return functional.mse_loss(class_scores(rows, numbers, len(classes), scale=1.0), wanted)
