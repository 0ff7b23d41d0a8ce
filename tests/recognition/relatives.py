"""Networks that no library publishes, or that are near to a published one without being it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torchvision.models import resnet18, vgg11
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.models.vision_transformer import VisionTransformer


def small_stem() -> nn.Module:
    model = resnet18()
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


def gated() -> nn.Module:
    model = resnet18()
    for block in (part for part in list(model.modules()) if isinstance(part, BasicBlock)):
        block.se = nn.Linear(block.conv2.out_channels, block.conv2.out_channels)
    return model


def attended() -> nn.Module:
    model = resnet18()
    model.attention = nn.Conv2d(2, 1, 7, padding=3)
    return model


def without_running_statistics() -> nn.Module:
    return ResNet(BasicBlock, [2, 2, 2, 2], norm_layer=lambda width: nn.GroupNorm(8, width))


def cut() -> nn.Module:
    model = resnet18()
    model.layer4 = nn.Sequential()
    model.fc = nn.Linear(256, 10)
    return model


class Gru(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 16)
        self.rnn = nn.GRU(16, 32, 2)
        self.fc = nn.Linear(32, 3)


RELATIVES: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: nn.Sequential(*[nn.Linear(64, 64) for _ in range(30)]),
    "one layer called fc": lambda: nn.ModuleDict({"fc": nn.Linear(512, 1000)}),
    "convolutions": lambda: nn.Sequential(*[nn.Conv2d(3 if not i else 64, 64, 3) for i in range(20)]),
    "gru": Gru,
    "transformer": lambda: nn.Transformer(32, 2, 2, 2, 64, batch_first=True),
    "resnet of other depth": lambda: ResNet(BasicBlock, [1, 1, 1, 1]),
    "resnet-26": lambda: ResNet(Bottleneck, [2, 2, 2, 2]),
    "resnet of 16 groups": lambda: ResNet(Bottleneck, [3, 4, 6, 3], groups=16, width_per_group=8),
    "resnet with a small stem": small_stem,
    "resnet with gates": gated,
    "resnet with attention": attended,
    "resnet with group normalisation": without_running_statistics,
    "resnet cut off": cut,
    "vgg trunk alone, doubled": lambda: nn.ModuleDict({"features": vgg11().features, "more": vgg11().features}),
    "vit of patches of 8": lambda: VisionTransformer(32, 8, 2, 2, 32, 64),
}


def skeleton(name: str) -> nn.Module:
    with torch.device("meta"):
        return RELATIVES[name]()
