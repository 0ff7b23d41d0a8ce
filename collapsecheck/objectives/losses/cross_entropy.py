"""Cross-entropy of a classifier on top."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from collapsecheck.objectives import Objective
from collapsecheck.objectives.heads import class_scores


class CrossEntropy(Objective):
    """Cross-entropy of class scores; the embeddings themselves where there are as many dimensions as classes.

    Otherwise the scores are those of a linear head that is fitted to these embeddings by ridge regression, since the
    head of the training is not part of an encoder. All items in one point cost the entropy of the classes, ln C.
    """

    WORDS = ("crossentropy", "nllloss", "softmaxloss", "logsoftmax")
    LABELS = True
    TARGET = 0.0
    NOTE = "through a linear head that is fitted to these embeddings"

    def loss(self, rows: Tensor, labels: Any, views: Any) -> Tensor:  # noqa: ARG002
        """Mean over the items."""
        classes, numbers = labels.unique(return_inverse=True)
        return functional.cross_entropy(class_scores(rows, numbers, len(classes)), numbers)
