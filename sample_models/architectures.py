"""Small encoders of many kinds for pictures ``[n, 1, 8, 8]``: functions without arguments, embeddings ``[n, 64]``."""

import torch
from torch import Tensor, nn

from sample_models.own_functions import with_own_activation

WIDTH = 64


def normalised() -> nn.Module:
    """Convolutions, each with batch normalisation."""
    return nn.Sequential(
        *_normalised_block(1, 16),
        *_normalised_block(16, 32),
        nn.MaxPool2d(2),
        *_normalised_block(32, 32),
        nn.Flatten(),
        nn.Linear(512, WIDTH),
    )


def plain() -> nn.Module:
    """Convolutions without normalisation."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, WIDTH),
    )


def perceptron() -> nn.Module:
    """Linear layers and ReLU."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, WIDTH),
    )


def squashed() -> nn.Module:
    """Linear layers and tanh."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.Tanh(),
        nn.Linear(128, 128),
        nn.Tanh(),
        nn.Linear(128, WIDTH),
    )


def logistic() -> nn.Module:
    """Linear layers and sigmoids."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.Sigmoid(),
        nn.Linear(128, 128),
        nn.Sigmoid(),
        nn.Linear(128, WIDTH),
    )


def gelu_perceptron() -> nn.Module:
    """Linear layers and GELU."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.GELU(),
        nn.Linear(128, 128),
        nn.GELU(),
        nn.Linear(128, WIDTH),
    )


def normalised_perceptron() -> nn.Module:
    """Linear layers, each but the last with batch normalisation."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Linear(128, WIDTH),
    )


def residual() -> nn.Module:
    """Residual blocks with batch normalisation, average-pooled."""
    return Residual()


def plain_classifier() -> nn.Module:
    """A classifier of ten classes, which ends in probabilities ``[n, 10]``."""
    return nn.Sequential(plain(), nn.Linear(WIDTH, 10), nn.Softmax(dim=1))


def normalised_classifier() -> nn.Module:
    """The same on `normalised`."""
    return nn.Sequential(normalised(), nn.Linear(WIDTH, 10), nn.Softmax(dim=1))


def perceptron_classifier() -> nn.Module:
    """The same on `perceptron`."""
    return nn.Sequential(perceptron(), nn.Linear(WIDTH, 10), nn.Softmax(dim=1))


def deep_perceptron() -> nn.Module:
    """Twenty linear layers and ReLU in a row."""
    return _deep_perceptron(normalised=False)


def deep_normalised_perceptron() -> nn.Module:
    """Twenty linear layers, each with batch normalisation."""
    return _deep_perceptron(normalised=True)


def deep_convolutional() -> nn.Module:
    """Twenty convolutions and ReLU in a row."""
    return _deep_convolutional(normalised=False)


def deep_normalised_convolutional() -> nn.Module:
    """Twenty convolutions, each with batch normalisation."""
    return _deep_convolutional(normalised=True)


def vgg() -> nn.Module:
    """Thirteen convolutions in a row, in the style of VGG-16, without normalisation."""
    layers: list[nn.Module] = []
    for place, entering in enumerate((1, *[32] * 12)):
        layers += [nn.Conv2d(entering, 32, 3, padding=1), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if place in (4, 8) else []
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, WIDTH))


def tall_perceptron() -> nn.Module:
    """Fourteen linear layers and ReLU in a row."""
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(14):
        layers += [nn.Linear(64, 64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, WIDTH))


def cut_convolutional() -> nn.Module:
    """Convolutions, of which the first two are cut off from the gradient."""
    return _cut(4, plain())


def cut_perceptron() -> nn.Module:
    """A perceptron whose first two layers are cut off from the gradient."""
    return _cut(5, perceptron())


def transformer() -> nn.Module:
    """A vision transformer on patches of 2x2 pixels, pre-norm, read out by the mean of its tokens."""
    return Transformer()


def recurrent() -> nn.Module:
    """A GRU that reads a picture row by row, and a linear layer on its last state."""
    return Recurrent()


class Detached(nn.Module):
    """Passes on what it gets, without its history: a line of code that is forgotten easily."""

    def forward(self, x: Tensor) -> Tensor:
        """The same tensor, for which no gradient comes back."""
        return x.detach()


def _cut(behind: int, model: nn.Module) -> nn.Module:
    """The same layers, with the history lost behind some of them."""
    layers = list(model.children())
    return nn.Sequential(*layers[:behind], Detached(), *layers[behind:])


class Block(nn.Module):
    """``relu(x + body(x))``, as in ResNet (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, c, h, w]`` to the same shape."""
        out = self.relu(self.bn1(self.conv1(x)))
        added: Tensor = self.relu(x + self.bn2(self.conv2(out)))
        return added


class Residual(nn.Module):
    """A ResNet of three blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(Block(32), nn.MaxPool2d(2), Block(32), Block(32))
        self.head = nn.Linear(32, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 1, 8, 8]`` to ``[n, 64]``."""
        rows: Tensor = self.head(self.blocks(self.stem(x)).mean(dim=(2, 3)))
        return rows


class Transformer(nn.Module):
    """Patches, learnt positions, two pre-norm blocks, a last normalisation, mean, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(1, WIDTH, 2, stride=2)
        self.places = nn.Parameter(torch.randn(1, 16, WIDTH) * 0.02)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 128, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 1, 8, 8]`` to ``[n, 64]``."""
        tokens = self.cut(x).flatten(2).transpose(1, 2) + self.places
        rows: Tensor = self.head(self.norm(self.blocks(tokens)).mean(dim=1))
        return rows


class Recurrent(nn.Module):
    """A GRU over the rows of a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(8, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 1, 8, 8]`` to ``[n, 64]``."""
        rows: Tensor = self.head(self.gru(x[:, 0])[1][-1])
        return rows


def _normalised_block(entering: int, leaving: int) -> list[nn.Module]:
    return [nn.Conv2d(entering, leaving, 3, padding=1, bias=False), nn.BatchNorm2d(leaving), nn.ReLU()]


def _deep_perceptron(*, normalised: bool) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(20):
        layers += [nn.Linear(64, 64), *([nn.BatchNorm1d(64)] if normalised else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, WIDTH))


def _deep_convolutional(*, normalised: bool) -> nn.Module:
    layers: list[nn.Module] = []
    for entering in (1, *[16] * 19):
        layers += [nn.Conv2d(entering, 16, 3, padding=1), *([nn.BatchNorm2d(16)] if normalised else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, WIDTH))


def normalised_by_batch() -> nn.Module:
    """`normalised` with layers that keep no running statistics."""
    return _without_statistics(normalised())


def residual_by_batch() -> nn.Module:
    """`residual` with layers that keep no running statistics."""
    return _without_statistics(residual())


def _without_statistics(module: nn.Module) -> nn.Module:
    for name, part in list(module.named_modules()):
        if isinstance(part, nn.BatchNorm2d):
            above, _, last = name.rpartition(".")
            setattr(module.get_submodule(above), last, nn.BatchNorm2d(part.num_features, track_running_stats=False))
    return module


class Dropping(nn.Module):
    """An encoder behind which dropout is always on."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 1, 8, 8]`` to ``[n, 64]``, another one each time."""
        return nn.functional.dropout(self.encoder(x), 0.5)


class AlongItems(nn.Module):
    """An encoder whose embeddings are normalised over the items of the batch."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 1, 8, 8]`` to ``[n, 64]``, columns of length 1."""
        return nn.functional.normalize(self.encoder(x), dim=0)


def plain_dropping() -> nn.Module:
    """`plain`, with dropout that is always on."""
    return Dropping(plain())


def transformer_dropping() -> nn.Module:
    """`transformer`, with dropout that is always on."""
    return Dropping(transformer())


def plain_own_activation() -> nn.Module:
    """`plain`, with an activation of its own."""
    return with_own_activation(plain())


def plain_own_activation_wrong() -> nn.Module:
    """The same, whose backward is wrong in one place."""
    return with_own_activation(plain(), wrong_at="3")


def perceptron_own_activation() -> nn.Module:
    """`perceptron`, with an activation of its own."""
    return with_own_activation(perceptron())


def perceptron_own_activation_wrong() -> nn.Module:
    """The same, whose backward is wrong in one place."""
    return with_own_activation(perceptron(), wrong_at="4")


def plain_along_items() -> nn.Module:
    """`plain`, normalised over the wrong axis."""
    return AlongItems(plain())


def residual_along_items() -> nn.Module:
    """`residual`, normalised over the wrong axis."""
    return AlongItems(residual())
