"""Fifty networks that no library publishes; some of them are near relatives of published ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.models.vision_transformer import VisionTransformer

Network = Callable[[], nn.Module]


def unrelated() -> Iterator[tuple[str, nn.Module]]:
    """Yield names and networks, without memory."""
    for name, make in NETWORKS.items():
        with torch.device("meta"):
            yield name, make()


def mlp(*widths: int, norm: bool = False) -> nn.Module:
    """Matrices, one after the other."""
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(widths)):
        layers += [nn.Linear(before, after), *([nn.BatchNorm1d(after)] if norm else [])]
        layers += [nn.ReLU()] if i < len(widths) - 2 else []
    return nn.Sequential(*layers)


def convolutions(*widths: int, size: int = 3, bias: bool = True, norm: bool = False) -> nn.Sequential:
    """Convolutions that halve the image each time."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, size, padding=size // 2, bias=bias)]
        layers += [*([nn.BatchNorm2d(after)] if norm else []), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers)


def parts(**named: nn.Module) -> nn.ModuleDict:
    """Modules under names of their own; nothing here is ever run."""
    return nn.ModuleDict(named)


def conv_net(*widths: int, classes: int = 10, **options: bool) -> nn.Module:
    """A convolutional network as beginners name it."""
    return parts(features=convolutions(*widths, **options), classifier=nn.Linear(widths[-1], classes))


class CifarBlock(nn.Module):
    """Two convolutions, and a lane beside them where the shape changes."""

    def __init__(self, before: int, after: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        if stride != 1 or before != after:
            lane = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
            setattr(self, shortcut, lane)


class CifarResNet(nn.Module):
    """A 3×3 stem without pooling, as everyone writes it for small images."""

    def __init__(self, counts: tuple[int, ...], widths: tuple[int, ...], shortcut: str = "shortcut") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        before = widths[0]
        for stage, (count, width) in enumerate(zip(counts, widths, strict=True), 1):
            blocks = []
            for number in range(count):
                blocks.append(CifarBlock(before, width, 2 if stage > 1 and not number else 1, shortcut))
                before = width
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        setattr(self, "fc" if shortcut == "downsample" else "linear", nn.Linear(before, 10))


def small_stem(model: nn.Module) -> nn.Module:
    """A ResNet whose first convolution is changed for small images."""
    model.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    model.maxpool = nn.Identity()
    return model


def gated(model: nn.Module) -> nn.Module:
    """A ResNet whose blocks weigh their channels (squeeze and excitation)."""
    for name, block in list(model.named_modules()):
        if isinstance(block, BasicBlock | Bottleneck):
            last = block.conv3 if isinstance(block, Bottleneck) else block.conv2
            width = last.out_channels
            model.get_submodule(name).se = mlp(width, width // 16, width)
    return model


def attended(model: nn.Module) -> nn.Module:
    """A ResNet with attention over channels and places before its first stage."""
    model.ca = nn.Sequential(nn.Conv2d(64, 4, 1), nn.Conv2d(4, 64, 1))
    model.sa = nn.Conv2d(2, 1, 7, padding=3, bias=False)
    return model


def deep_stem(model: nn.Module) -> nn.Module:
    """A ResNet with three convolutions in place of the first."""
    model.conv1 = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.Conv2d(32, 32, 3, 1, 1), nn.Conv2d(32, 64, 3, 1, 1))
    return model


def without_norm(model: nn.Module) -> nn.Module:
    """A ResNet with group normalisation."""
    for name, part in list(model.named_modules()):
        if isinstance(part, nn.BatchNorm2d):
            parent, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(parent), attribute, nn.GroupNorm(16, part.num_features))
    return model


def resnet(block: type[BasicBlock | Bottleneck], *counts: int, **options: int) -> ResNet:
    """A ResNet that torchvision can build, but has no name for."""
    return ResNet(block, list(counts), **options)


class UNet(nn.Module):
    """Down, up, and across."""

    def __init__(self, channels: int, width: int, depth: int, norm: bool) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(depth)]
        self.down = nn.ModuleList(
            self._double(before, after, norm) for before, after in zip([channels, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(w, w // 2, 2, 2) for w in reversed(widths[1:]))
        self.join = nn.ModuleList(self._double(w, w // 2, norm) for w in reversed(widths[1:]))
        self.out = nn.Conv2d(width, 2, 1)

    def _double(self, before: int, after: int, norm: bool) -> nn.Module:
        layers: list[nn.Module] = []
        for first in (before, after):
            layers += [nn.Conv2d(first, after, 3, padding=1), *([nn.BatchNorm2d(after)] if norm else []), nn.ReLU()]
        return nn.Sequential(*layers)


class Recurrent(nn.Module):
    """Words, a recurrent layer, classes."""

    def __init__(self, kind: type[nn.RNNBase], words: int, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.rnn = kind(width, width, layers, batch_first=True)
        self.fc = nn.Linear(width, 5)


class Transformer(nn.Module):
    """Words, encoder layers, classes."""

    def __init__(self, words: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(words, width)
        self.position = nn.Parameter(torch.zeros(1, 128, width))
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(width, heads, 4 * width, batch_first=True), layers, enable_nested_tensor=False
        )
        self.head = nn.Linear(width, 3)


class Autoencoder(nn.Module):
    """A variational autoencoder for digits."""

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.encoder = convolutions(1, width, 2 * width)
        self.mu, self.logvar = nn.Linear(2 * width * 49, latent), nn.Linear(2 * width * 49, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, 2 * width * 49), nn.ConvTranspose2d(2 * width, 1, 4, 2, 1))


def vgg_like(*plan: int, norm: bool = False) -> nn.Module:
    """Named as torchvision names its VGGs, with other widths or another number of layers."""
    return parts(
        features=convolutions(3, *plan, norm=norm),
        classifier=nn.Sequential(
            nn.Linear(plan[-1] * 49, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(),
            nn.Linear(4096, 1000),
        ),
    )  # fmt: skip


def vit(**options: int) -> VisionTransformer:
    """A vision transformer of other sizes."""
    return VisionTransformer(**{"image_size": 224, "patch_size": 16, "num_layers": 12, "num_heads": 12, **options})


NETWORKS: dict[str, Network] = {
    "mlp, 3 layers": lambda: mlp(784, 256, 10),
    "mlp, deep": lambda: mlp(784, *[512] * 20, 10),
    "mlp, normalised": lambda: mlp(100, 64, 64, 64, 8, norm=True),
    "mlp, wide as VGG's classifier": lambda: parts(classifier=mlp(25088, 4096, 4096, 1000)),
    "projector of 3 layers": lambda: parts(projector=mlp(2048, 8192, 8192, 8192, norm=True)),
    "one linear layer called fc": lambda: parts(fc=nn.Linear(2048, 1000)),
    "one linear layer called fc, 512": lambda: parts(fc=nn.Linear(512, 1000)),
    "LeNet": lambda: parts(conv1=nn.Conv2d(1, 6, 5), conv2=nn.Conv2d(6, 16, 5), fc1=nn.Linear(256, 120)),
    "stem of a ResNet alone": lambda: parts(conv1=nn.Conv2d(3, 64, 7, 2, 3, bias=False), bn1=nn.BatchNorm2d(64)),
    "convolutions, 4": lambda: conv_net(3, 32, 64, 128, 256),
    "convolutions, 4, normalised": lambda: conv_net(3, 32, 64, 128, 256, norm=True),
    "convolutions, 12": lambda: conv_net(3, *[64] * 12, norm=True),
    "convolutions, one channel": lambda: conv_net(1, 16, 32),
    "convolutions over time": lambda: nn.Sequential(nn.Conv1d(40, 64, 5), nn.ReLU(), nn.Conv1d(64, 128, 5)),
    "convolutions in 3 dimensions": lambda: nn.Sequential(nn.Conv3d(1, 16, 3), nn.Conv3d(16, 32, 3)),
    "VGG of other widths": lambda: vgg_like(48, 96, 192, 192, 384, 384, 384, 384),
    "VGG of other depth": lambda: vgg_like(64, 128, 256, 256, 512, 512, 512, 512, 512),
    "VGG, normalised, of other depth": lambda: vgg_like(64, 64, 128, 256, 256, 512, 512, norm=True),
    "GRU": lambda: Recurrent(nn.GRU, 1000, 64, 2),
    "LSTM": lambda: Recurrent(nn.LSTM, 30000, 256, 1),
    "RNN": lambda: Recurrent(nn.RNN, 100, 32, 1),
    "transformer, 2 layers": lambda: Transformer(1000, 64, 4, 2),
    "transformer, 12 layers": lambda: Transformer(30522, 768, 12, 12),
    "encoder and decoder": lambda: nn.Transformer(128, 4, 2, 2, 256, batch_first=True),
    "ViT of 6 layers": lambda: vit(num_layers=6, hidden_dim=768, mlp_dim=3072),
    "ViT, small": lambda: vit(num_heads=6, hidden_dim=384, mlp_dim=1536),
    "ViT, patches of 8": lambda: vit(patch_size=8, hidden_dim=768, mlp_dim=3072),
    "ViT, narrow mlp": lambda: vit(hidden_dim=768, mlp_dim=1536),
    "U-Net": lambda: UNet(3, 64, 5, False),
    "U-Net, normalised": lambda: UNet(3, 64, 5, True),
    "U-Net, small": lambda: UNet(1, 16, 3, True),
    "autoencoder": lambda: Autoencoder(32, 16),
    "ResNet-10": lambda: resnet(BasicBlock, 1, 1, 1, 1),
    "ResNet-26": lambda: resnet(Bottleneck, 2, 2, 2, 2),
    "ResNet-38": lambda: resnet(Bottleneck, 3, 3, 3, 3),
    "ResNet-200": lambda: resnet(Bottleneck, 3, 24, 36, 3),
    "ResNet-18, twice as wide": lambda: parts(net=CifarResNet((2, 2, 2, 2), (128, 256, 512, 1024), "downsample")),
    "ResNet-50, one and a half times as wide": lambda: resnet(Bottleneck, 3, 4, 6, 3, width_per_group=96),
    "ResNeXt-50, 16 groups": lambda: resnet(Bottleneck, 3, 4, 6, 3, groups=16, width_per_group=8),
    "CIFAR ResNet-18": lambda: CifarResNet((2, 2, 2, 2), (64, 128, 256, 512)),
    "CIFAR ResNet-18, torchvision's names": lambda: CifarResNet((2, 2, 2, 2), (64, 128, 256, 512), "downsample"),
    "CIFAR ResNet-20": lambda: CifarResNet((3, 3, 3), (16, 32, 64)),
    "CIFAR ResNet-56": lambda: CifarResNet((9, 9, 9), (16, 32, 64)),
    "ResNet-50 with a small stem": lambda: small_stem(resnet(Bottleneck, 3, 4, 6, 3)),
    "ResNet-34 with a small stem": lambda: small_stem(resnet(BasicBlock, 3, 4, 6, 3)),
    "ResNet-50 with a deep stem": lambda: deep_stem(resnet(Bottleneck, 3, 4, 6, 3)),
    "ResNet-50 with group normalisation": lambda: without_norm(resnet(Bottleneck, 3, 4, 6, 3)),
    "SE-ResNet-18": lambda: gated(resnet(BasicBlock, 2, 2, 2, 2)),
    "SE-ResNet-50": lambda: gated(resnet(Bottleneck, 3, 4, 6, 3)),
    "ResNet-18 with attention": lambda: attended(resnet(BasicBlock, 2, 2, 2, 2)),
}
