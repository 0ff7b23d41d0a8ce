"""Cross-entropy of a linear head that learns along: for short trainings, not for a look at ready embeddings."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from collapsecheck.objectives import Objective


class TrainedHead(Objective):
    """A linear layer on top, trained with the model; made for the classes and dimensions of the first batches.

    Attributes
    ----------
    head : None until `made_for` was called.
    """

    WORDS = ()
    LABELS = True

    def __init__(self) -> None:
        super().__init__()
        self.head: nn.Linear | None = None

    def made_for(self, dimension: int, classes: int, device: torch.device) -> nn.Linear:
        """The head, drawn anew."""
        self.head = nn.Linear(dimension, classes).to(device)
        return self.head

    def loss(self, rows: Tensor, labels: Any, views: Any) -> Tensor:  # noqa: ARG002
        """Mean over the items; class numbers must be those that the head was made for."""
        head = self.head or self.made_for(rows.shape[1], int(labels.max()) + 1, rows.device)
        return functional.cross_entropy(head(rows.to(head.weight)), labels)
