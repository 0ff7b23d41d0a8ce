"""No loss of a training: what a probe asks where none is stated."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from collapsecheck.objectives import NotComputable, Objective


class Spread(Objective):
    """Draws each item in a direction of its own, drawn at random: minus the mean projection, over the mean length.

    It asks items to spread, without labels, and whatever the embeddings are: predicting noise needs no value to begin
    with (Bojanowski & Joulin 2017). A loss that asks for the differences which are there would have no gradient where
    there are none. Free of the scale of the embeddings, and a mean over the batch, so that gradients are comparable
    across models and sizes of batches.
    """

    WORDS = ("spread",)

    def loss(self, rows: Tensor, labels: Any, views: Any) -> Tensor:  # noqa: ARG002
        """In [−1, 1], 0 for items that know nothing of their direction."""
        generator = torch.Generator().manual_seed(0)
        directions = torch.randn(rows.shape, generator=generator, dtype=torch.float64).to(rows)
        directions = directions / directions.norm(dim=1, keepdim=True)
        size = rows.detach().square().sum(1).mean().sqrt()
        if not float(size) > 0:
            raise NotComputable("all embeddings are zero")
        value: Tensor = -(rows * directions).sum(1).mean() / size
        return value
