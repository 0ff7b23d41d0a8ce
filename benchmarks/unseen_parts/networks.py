"""Sixteen encoders for pictures of 28×28: convolutional, residual, attentive, recurrent, dense; many activations."""

# ruff: noqa: D101, D102, D103 - each is what its name says

from __future__ import annotations

from collections.abc import Callable

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 64


def resnet18() -> nn.Module:
    model = torchvision.models.resnet18(num_classes=10)
    model.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    return model


def mobilenet() -> nn.Module:
    model = torchvision.models.mobilenet_v2(num_classes=10)
    model.features[0][0] = nn.Conv2d(1, 32, 3, 1, 1, bias=False)
    return model


def vgg_bn() -> nn.Module:
    layers: list[nn.Module] = []
    entering = 1
    for width in (32, 32, 0, 64, 64, 0, 128, 0):
        if not width:
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(entering, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        entering = width
    head = [nn.Flatten(), nn.Linear(1152, 256), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(256, WIDTH)]
    return nn.Sequential(*layers, *head)


class LeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.f1, self.f2 = nn.Linear(400, 120), nn.Linear(120, 84)
        self.act, self.pool = nn.Tanh(), nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.act(self.c1(x)))
        x = self.pool(self.act(self.c2(x))).flatten(1)
        rows: Tensor = self.f2(self.act(self.f1(x)))
        return rows


def lenet() -> nn.Module:
    return LeNet()


class ChannelsFirstNorm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNextBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dw = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm, self.p1, self.p2 = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.dw(x).permute(0, 2, 3, 1)
        y = self.p2(functional.gelu(self.p1(self.norm(y))))
        return x + y.permute(0, 3, 1, 2)


class ConvNext(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first = nn.Conv2d(1, 32, 4, 4), ChannelsFirstNorm(32)
        self.blocks = nn.Sequential(ConvNextBlock(32), ConvNextBlock(32))
        self.down, self.last = nn.Conv2d(32, 64, 2, 2, padding=1), ConvNextBlock(64)
        self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.down(self.blocks(self.first(self.stem(x)))))
        rows: Tensor = self.head(self.norm(x.mean((2, 3))))
        return rows


def convnext() -> nn.Module:
    return ConvNext()


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 64, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, 64))
        self.position = nn.Parameter(torch.randn(1, 50, 64) * 0.02)
        layer = nn.TransformerEncoderLayer(64, 4, 128, 0.1, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(64)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        rows: Tensor = self.norm(self.layers(x)[:, 0])
        return rows


def attentive() -> nn.Module:
    return Attentive()


class Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.LSTM(28, 96, 2, batch_first=True), nn.Linear(96, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        rows: Tensor = self.out(self.rnn(x.squeeze(1))[0][:, -1])
        return rows


def lstm() -> nn.Module:
    return Lstm()


class UnitGru(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.GRU(28, 96, batch_first=True, bidirectional=True), nn.Linear(192, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(self.out(self.rnn(x.squeeze(1))[0].mean(1)), dim=1)


def unit_gru() -> nn.Module:
    return UnitGru()


def _dense(activation: Callable[[], nn.Module], depth: int = 4, width: int = 256, norm: bool = False) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    entering = 784
    for _ in range(depth):
        layers += [nn.Linear(entering, width, bias=not norm), *([nn.BatchNorm1d(width)] if norm else []), activation()]
        entering = width
    return nn.Sequential(*layers, nn.Linear(entering, WIDTH))


def dense_relu() -> nn.Module:
    return _dense(nn.ReLU)


def dense_silu() -> nn.Module:
    return _dense(nn.SiLU, 3)


def dense_sigmoid() -> nn.Module:
    return _dense(nn.Sigmoid, 2)


def dense_selu() -> nn.Module:
    return _dense(nn.SELU, 6, 128)


def dense_bn() -> nn.Module:
    return _dense(nn.ReLU, 3, norm=True)


class GroupResidual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 32, 3, 2, 1)
        self.blocks = nn.ModuleList(self._block() for _ in range(3))
        self.head = nn.Linear(32, WIDTH)

    @staticmethod
    def _block() -> nn.Module:
        half = [nn.GroupNorm(8, 32), nn.SiLU(), nn.Conv2d(32, 32, 3, padding=1)]
        return nn.Sequential(*half, nn.GroupNorm(8, 32), nn.SiLU(), nn.Conv2d(32, 32, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        rows: Tensor = self.head(functional.silu(x).mean((2, 3)))
        return rows


def group_residual() -> nn.Module:
    return GroupResidual()


def plain() -> nn.Module:
    layers: list[nn.Module] = []
    for entering, width in ((1, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(entering, width, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, WIDTH))


def leaky() -> nn.Module:
    first = [nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1), nn.BatchNorm2d(32)]
    return nn.Sequential(*first, nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(1568, 32))


ALL: tuple[Callable[[], nn.Module], ...] = (
    resnet18, mobilenet, vgg_bn, lenet, convnext, attentive, lstm, unit_gru, dense_relu, dense_silu, dense_sigmoid,
    dense_selu, dense_bn, group_residual, plain, leaky,
)  # fmt: skip
