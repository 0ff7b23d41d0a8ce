"""Fashion-MNIST (Xiao et al. 2017, MIT licence), from the files that Debian packs as dataset-fashion-mnist."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

MEAN, DEVIATION = 0.286, 0.353
TRAINED, SCANNED = 20_000, 600


class Pictures(NamedTuple):
    """`[n, 1, 28, 28]` in 0..1 and classes `[n]`: those for training, and those that no training sees."""

    training: Tensor
    training_classes: Tensor
    unseen: Tensor
    unseen_classes: Tensor


@cache
def pictures(folder: Path) -> Pictures:
    """Read the four files of a folder."""

    def read(name: str, skipped: int) -> Tensor:
        content = gzip.decompress((folder / f"{name}-ubyte.gz").read_bytes())
        return torch.from_numpy(np.frombuffer(content, np.uint8)[skipped:].copy())

    def both(part: str, count: int) -> tuple[Tensor, Tensor]:
        images = read(f"{part}-images-idx3", 16).view(-1, 1, 28, 28)[:count]
        return images.float() / 255, read(f"{part}-labels-idx1", 8)[:count].long()

    return Pictures(*both("train", TRAINED), *both("t10k", SCANNED))


def normalised(images: Tensor) -> Tensor:
    """As the networks are trained."""
    return (images - MEAN) / DEVIATION
