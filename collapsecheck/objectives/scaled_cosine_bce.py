"""What a sigmoid of a cosine is like without its bound: the reference for losses that are held by it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from collapsecheck.objectives import Objective

SCALE, BIAS = 10.0, -5.0


class ScaledCosineBce(Objective):
    """Binary cross-entropy of sigmoid(10·cosine − 5), which comes near 0 and 1 (after Zhai et al. 2023)."""

    WORDS = ()
    LABELS = True

    def loss(self, rows: Tensor, labels: Any, views: Any) -> Tensor:  # noqa: ARG002
        """Mean of alike and of different pairs."""
        unit = functional.normalize(rows, dim=1)
        first, second = torch.triu_indices(len(rows), len(rows), offset=1, device=rows.device)
        logits = SCALE * (unit[first] * unit[second]).sum(1) + BIAS
        alike = (labels[first] == labels[second]).to(logits)
        each = functional.binary_cross_entropy_with_logits(logits, alike, reduction="none")
        return torch.stack([each[alike == 1].mean(), each[alike == 0].mean()]).mean()
