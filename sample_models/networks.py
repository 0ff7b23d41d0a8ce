"""The sample models' architectures, one function each: no arguments, an untrained module.

Every module maps grey pictures ``[n, 1, 8, 8]`` with pixels in 0..1 to embeddings ``[n, 64]``; heads that
only training needs live in train.py. The file needs nothing but torch, so that it can be handed to
``collapsecheck scan --model-def sample_models/networks.py:healthy`` as it is.
"""

import torch
from torch import Tensor, nn

WIDTH = 64


def healthy() -> nn.Module:
    """A small convolutional net with batch normalisation and a signed linear embedding."""
    return nn.Sequential(
        _normalised_block(1, 16),
        nn.MaxPool2d(2),
        _normalised_block(16, 32),
        _normalised_block(32, 32),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, WIDTH),
    )


def healthy_relu() -> nn.Module:
    """A convolutional net without normalisation whose embedding is what its last ReLU lets through."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, WIDTH, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(WIDTH, WIDTH),
        nn.ReLU(),
    )


def complete() -> nn.Module:
    """The triplet net: convolutions without normalisation, raw (not unit) embeddings."""
    return _plain_net()


def dimensional() -> nn.Module:
    """An autoencoder's encoder that squeezes everything through two units before the 64 of the embedding."""
    return nn.Sequential(
        _normalised_block(1, 16),
        nn.MaxPool2d(2),
        _normalised_block(16, 32),
        _normalised_block(32, 32),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 2),
        nn.Linear(2, WIDTH, bias=False),
    )


def cluster() -> nn.Module:
    """An encoder that ends in a codebook of 32 vectors: each picture becomes the nearest code."""
    return nn.Sequential(_plain_net(), Codebook(32, WIDTH))


def cone() -> nn.Module:
    """A rating model's tower: signed embeddings that are compared by their dot product."""
    return healthy()


def norm() -> nn.Module:
    """A plain net without normalisation: nothing in it stops weights and embeddings from shrinking."""
    return _plain_net()


def always_one() -> nn.Module:
    """A plain VGG-11-style net as many first attempts are: eight 3x3 convolutions, ReLU, no normalisation."""
    layers: list[nn.Module] = []
    channels = 1
    for block in range(4):
        for _ in range(2):
            layers += [nn.Conv2d(channels, 24, 3, padding=1), nn.ReLU()]
            channels = 24
        # 8x8 -> 4x4 -> 2x2 -> 1x1 leaves nothing to pool after three blocks.
        if block < 3:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, WIDTH))


class Codebook(nn.Module):
    """Vector quantisation (van den Oord et al. 2017): rows ``[n, d]`` become their nearest code ``[n, d]``."""

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.empty(codes, width).uniform_(-0.2, 0.2))

    def nearest(self, rows: Tensor) -> Tensor:
        """The code vector nearest to each row; gradients reach the codes, not the rows."""
        return self.codes[torch.cdist(rows, self.codes).argmin(dim=1)]

    def forward(self, rows: Tensor) -> Tensor:
        """Straight-through: the value is the code, the gradient passes to the rows as if they were it."""
        quantised = self.nearest(rows)
        if not self.training:
            return quantised  # rows + (code - rows) would round differently for each row
        return rows + (quantised - rows).detach()


def _normalised_block(entering: int, leaving: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(entering, leaving, 3, padding=1, bias=False), nn.BatchNorm2d(leaving), nn.ReLU())


def _plain_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, WIDTH),
    )
