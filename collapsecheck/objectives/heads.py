"""A linear head for losses that are computed on top of embeddings."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

RIDGE = 1e-3  # of the mean variance of a dimension
SCALE = 10.0  # indicators 0 and 1 become scores of this size: a trained classifier is as sure as that


def class_scores(rows: Tensor, numbers: Tensor, classes: int, *, scale: float = SCALE) -> Tensor:
    """Scores [n, classes] of embeddings [n, d]: these themselves if d is the number of classes, else fitted ones.

    The fit is ridge regression to the indicators of the classes (Hoerl & Kennard 1970), held fixed afterwards: the
    gradient is that of the embeddings alone. Where all rows are equal the head is zero, and all classes alike.
    """
    if rows.shape[1] == classes:
        return rows
    fixed = rows.detach().double()
    wanted = functional.one_hot(numbers, classes).double()
    mean, share = fixed.mean(0), wanted.mean(0)
    centred = fixed - mean
    variance = centred.square().mean()
    if not float(variance) > 0 or not bool(torch.isfinite(variance)):
        return rows @ torch.zeros(rows.shape[1], classes, dtype=rows.dtype, device=rows.device) + share.to(rows)
    n, d = rows.shape
    # The smaller of the two systems: with few items of many dimensions the one between items (the same solution).
    gram = (centred.T @ centred if d <= n else centred @ centred.T) / n
    gram += RIDGE * variance * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    aims = (wanted - share) / n
    head = torch.linalg.solve(gram, centred.T @ aims) if d <= n else centred.T @ torch.linalg.solve(gram, aims)
    scores: Tensor = scale * ((rows - mean.to(rows)) @ head.to(rows) + share.to(rows))
    return scores
