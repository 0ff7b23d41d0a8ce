"""Small encoders of many kinds. Each function takes the shape of one input and the width of the embedding."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

Shape = tuple[int, ...]
Build = Callable[[Shape, int], nn.Module]


class PerPosition(nn.Module):
    """Layer normalisation over the channels of each position of ``[n, c, h, w]``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Channels last, normalise, channels first again."""
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


class Residual(nn.Module):
    """``x + body(x)``."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """The sum."""
        return x + self.body(x)


class Unit(nn.Module):
    """Rows of length one."""

    def forward(self, rows: Tensor) -> Tensor:
        """``[n, d]`` to ``[n, d]``."""
        return functional.normalize(rows, dim=1)


class Transformer(nn.Module):
    """A vision transformer: square patches, learnt positions, pre-norm blocks; mean or CLS read-out."""

    def __init__(self, shape: Shape, d: int, patch: int, depth: int, cls: bool) -> None:
        super().__init__()
        width, tokens = 32, (shape[1] // patch) * (shape[2] // patch)
        self.cut = nn.Conv2d(shape[0], width, patch, stride=patch)
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.02) if cls else None
        self.places = nn.Parameter(torch.randn(1, tokens + cls, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, d)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, c, h, w]`` to ``[n, d]``."""
        tokens = self.cut(x).flatten(2).transpose(1, 2)
        if self.cls is not None:
            tokens = torch.cat([self.cls.expand(len(x), -1, -1), tokens], dim=1)
        tokens = self.norm(self.blocks(tokens + self.places))
        return self.project(tokens[:, 0] if self.cls is not None else tokens.mean(dim=1))


class Recurrent(nn.Module):
    """A GRU that reads a picture row by row; its last state, or that state through a linear layer."""

    def __init__(self, shape: Shape, d: int, linear: bool) -> None:
        super().__init__()
        self.gru = nn.GRU(shape[0] * shape[2], 64 if linear else d, batch_first=True)
        self.project = nn.Linear(64, d) if linear else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """``[n, c, h, w]`` to ``[n, d]``."""
        return self.project(self.gru(x.movedim(1, 2).flatten(2))[1][-1])


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": lambda channels: nn.GroupNorm(4, channels),
    "layer": PerPosition,
    "none": lambda channels: nn.Identity(),
}
FLAT_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
    "none": lambda width: nn.Identity(),
}


def mlp(depth: int = 2, width: int = 128, act: type[nn.Module] = nn.ReLU, norm: str = "none") -> Build:
    """`depth` hidden layers and a signed linear embedding; depth 0 is one linear layer."""

    def build(shape: Shape, d: int) -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        entering = prod(shape)
        for _ in range(depth):
            layers += [nn.Linear(entering, width), FLAT_NORMS[norm](width), act()]
            entering = width
        return nn.Sequential(*layers, nn.Linear(entering, d))

    return build


def conv(
    depth: int = 3, width: int = 24, act: type[nn.Module] = nn.ReLU, norm: str = "none", pooled: bool = False
) -> Build:
    """`depth` 3x3 convolutions, halved while wider than 4; pooled: the averages of `d` channels are the embedding."""

    def build(shape: Shape, d: int) -> nn.Module:
        layers: list[nn.Module] = []
        entering, side = shape[0], shape[1]
        for place in range(depth):
            leaving = d if pooled and place == depth - 1 else width
            stride = 2 if side > 4 else 1
            layers += [nn.Conv2d(entering, leaving, 3, stride=stride, padding=1), NORMS[norm](leaving), act()]
            entering, side = leaving, side // stride
        if pooled:
            return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(entering * side * side, d))

    return build


def residual(blocks: int = 3, width: int = 24, norm: str = "batch") -> Build:
    """Residual blocks on a quarter of the resolution, average-pooled, then linear."""

    def build(shape: Shape, d: int) -> nn.Module:
        def block() -> nn.Module:
            return Residual(
                nn.Sequential(
                    NORMS[norm](width),
                    nn.ReLU(),
                    nn.Conv2d(width, width, 3, padding=1),
                    NORMS[norm](width),
                    nn.ReLU(),
                    nn.Conv2d(width, width, 3, padding=1),
                )
            )

        stride = shape[1] // 4
        stem = nn.Conv2d(shape[0], width, stride + 1, stride=stride, padding=stride // 2)
        return nn.Sequential(stem, *(block() for _ in range(blocks)), nn.Flatten(), nn.Linear(width * 16, d))

    return build


def transformer(patch: int = 2, depth: int = 2, cls: bool = False) -> Build:
    """A small vision transformer."""
    return lambda shape, d: Transformer(shape, d, patch, depth, cls)


def recurrent(linear: bool = True) -> Build:
    """A GRU over the rows of a picture."""
    return lambda shape, d: Recurrent(shape, d, linear)


def then(build: Build, *after: Callable[[], nn.Module]) -> Build:
    """The same encoder with a read-out behind it, such as ReLU or `Unit`."""
    return lambda shape, d: nn.Sequential(build(shape, d), *(one() for one in after))
