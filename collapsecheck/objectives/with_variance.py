"""Another loss, and a term that keeps every dimension of the embeddings moving."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from collapsecheck.objectives import Objective

WEIGHT = 1.0


class WithVariance(Objective):
    """A loss plus the variance term of VICReg: relu(1 − deviation), mean over dimensions, of rows of a length of √d.

    (Bardes et al. 2022, eq. 1.) The length is taken out, so that it can be added to losses of any scale.
    """

    WORDS = ()

    def __init__(self, other: Objective) -> None:
        super().__init__(margin=other.margin, temperature=other.temperature)
        self.other = other
        self.LABELS = other.LABELS  # type: ignore[misc]
        self.VIEWS = other.VIEWS  # type: ignore[misc]

    @property
    def id(self) -> str:
        """That of the other, with the term."""
        return f"{self.other.id} + variance"

    @property
    def needs_labels(self) -> bool:
        """As the other."""
        return self.other.needs_labels

    def loss(self, rows: Tensor, labels: Any, views: Any) -> Tensor:
        """Sum of both."""
        return self.other(rows, labels, views) + WEIGHT * _lack(rows)


def _lack(rows: Tensor) -> Tensor:
    size = rows.square().mean().sqrt().clamp(min=torch.finfo(rows.dtype).tiny)
    deviation = torch.sqrt((rows / size).var(dim=0) + 1e-4)
    return torch.relu(1 - deviation).mean()
