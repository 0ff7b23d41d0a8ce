"""Binary cross-entropy of a sigmoid of a cosine."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from collapsecheck.objectives import Objective


class CosineBce(Objective):
    """Binary cross-entropy of sigmoid(cosine) for pairs: alike or not; alike and different ones count the same.

    A cosine lies in −1…1, so that the sigmoid stays in 0.27…0.73: no embedding costs less than 0.3133. All items in
    one point cost 0.8133, orthogonal ones ln 2.
    """

    WORDS = ("cosinebce", "bcecosine", "sigmoidcosine", "sigmoidofcosine", "sigmoiddistance", "bounded")
    LABELS = True
    TARGET = 0.0

    def loss(self, rows: Tensor, labels: Any, views: Any) -> Tensor:  # noqa: ARG002
        """Mean of both kinds of pairs."""
        unit = functional.normalize(rows, dim=1)
        first, second = torch.triu_indices(len(rows), len(rows), offset=1, device=rows.device)
        cosine = (unit[first] * unit[second]).sum(1)
        alike = (labels[first] == labels[second]).to(cosine)
        each = functional.binary_cross_entropy_with_logits(cosine, alike, reduction="none")
        kinds = [each[chosen].mean() for chosen in (alike == 1, alike == 0) if bool(chosen.any())]
        return torch.stack(kinds).mean()
