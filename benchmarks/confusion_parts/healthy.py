"""Sound models, scanned whole: what looks like a collapse to a statistic, and is none.

Every name in `VARIANTS` is also a function of this module that builds the model, which is what `--model-def` names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torchvision import models

from benchmarks.zoo_parts.data import Data, load
from benchmarks.zoo_parts.networks import Build, Unit, conv, mlp, recurrent, residual, then, transformer
from benchmarks.zoo_parts.objectives import (
    Aim,
    autoencoder,
    contrastive,
    cross_entropy,
    fit,
    regression,
    supervised_contrastive,
    triplet,
    vicreg,
)
from sample_models.sample import Sample

# What may be said of a net that nobody has trained.
UNTRAINED = frozenset({"untrained-weights"})


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A sound model. `allowed` are causes that may be named, since they are true."""

    name: str
    data: str
    build: Build
    d: int = 64
    aim: Aim | None = cross_entropy
    n: int = 400
    steps: int = 150
    labels: bool = True
    scanned: tuple[int, ...] = ()
    on_training: bool = False
    weight_decay: float = 0.0
    rare: bool = False
    allowed: frozenset[str] = frozenset()
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def builder(self) -> Callable[[], nn.Module]:
        """What builds the model, as the function of this module that it is to look like."""

        def made() -> nn.Module:
            return self.build(tuple(load(self.data, 0).inputs.shape[1:]), self.d)

        made.__qualname__ = self.name
        return made

    def sample(self, seed: int) -> Sample:
        """Train it, and take what is to be scanned."""
        known = load(self.data, seed)
        torch.manual_seed(seed)
        encoder = self.builder()
        if self.aim is not None:
            aim = self.aim(encoder, known, self.d)
            fit(encoder, aim, known.training, steps=self.steps, weight_decay=self.weight_decay)
        seen = known.training if self.on_training else known
        if self.scanned:
            seen = seen.only(self.scanned)
        if self.rare:
            seen = imbalanced(seen)
        labels = seen.truth[: self.n] if self.labels and seen.is_classes else None
        return Sample(
            build=self.builder,
            state=encoder.state_dict(),
            inputs=seen.inputs[: self.n],
            labels=labels,
            options=self.options,
        )


def imbalanced(data: Data) -> Data:
    """All of class 0, and every thirtieth item of the others."""
    kept = (data.truth == 0) | (torch.arange(len(data.truth)) % 30 == 0)
    return Data(data.inputs[kept], data.truth[kept], 0)


def dropout(build: Build) -> Build:
    """The same encoder with dropout in front of it."""
    return lambda shape, d: nn.Sequential(nn.Dropout(0.1), build(shape, d))


def classifier(build: Build) -> Build:
    """An encoder with ReLU, and a head for ten classes behind it."""
    return lambda shape, d: nn.Sequential(build(shape, d), nn.ReLU(), nn.Linear(d, 10))


def with_own_head(encoder: nn.Module, _data: Data, _d: int) -> Any:
    """Cross-entropy of what the model itself gives."""
    from benchmarks.zoo_parts.objectives import Objective

    return Objective(lambda x, y: nn.functional.cross_entropy(encoder(x), y))


def library(name: str) -> Build:
    """A model of torchvision without its classifier, at random weights."""

    def build(_shape: tuple[int, ...], _d: int) -> nn.Module:
        model: nn.Module = getattr(models, name)(weights=None)
        if hasattr(model, "fc"):
            model.fc = nn.Identity()
        else:
            model.classifier = nn.Identity()
        return model

    return build


def variants() -> Iterator[Variant]:
    """All of them, by kind."""
    yield from architectures()
    yield from objectives()
    yield from read_outs()
    yield from classes()
    yield from untrained()


def architectures() -> Iterator[Variant]:
    """One of each family, some without labels."""
    yield Variant(name="conv_plain", data="digits", build=conv())
    yield Variant(name="conv_plain_no_labels", data="digits", build=conv(), labels=False)
    yield Variant(name="conv_gelu_deep", data="digits", build=conv(depth=5, act=nn.GELU), steps=250)
    yield Variant(name="conv_batch_norm", data="digits", build=conv(norm="batch"), d=128)
    yield Variant(name="conv_group_norm", data="digits", build=conv(norm="group"), d=32)
    yield Variant(name="conv_layer_norm", data="digits", build=conv(norm="layer"), labels=False)
    yield Variant(name="conv_tanh", data="digits", build=conv(act=nn.Tanh), d=128)
    yield Variant(name="residual_batch_norm", data="digits", build=residual())
    yield Variant(name="residual_plain", data="digits", build=residual(blocks=2, norm="none"), d=32)
    yield Variant(name="transformer_mean", data="digits", build=transformer(), steps=200)
    yield Variant(name="transformer_cls", data="digits", build=transformer(cls=True), labels=False, steps=200)
    yield Variant(name="gru_linear", data="digits", build=recurrent(), steps=250)
    yield Variant(name="gru_state", data="digits", build=recurrent(linear=False), d=32, steps=250)
    yield Variant(name="perceptron", data="digits", build=mlp(4), steps=250)
    yield Variant(name="perceptron_sigmoid", data="digits", build=mlp(2, act=nn.Sigmoid), steps=500)
    yield Variant(name="perceptron_8_batch_norm", data="digits", build=mlp(8, norm="batch"), labels=False)
    yield Variant(name="perceptron_6_plain", data="digits", build=mlp(6), steps=400)
    yield Variant(name="perceptron_6_layer_norm", data="digits", build=mlp(6, norm="layer"), d=256)
    yield Variant(name="dropout_conv", data="digits", build=dropout(conv(norm="batch")))


def objectives() -> Iterator[Variant]:
    """Each objective, with and without normalisation."""
    for norm in ("batch", "none"):
        yield Variant(name=f"contrastive_{norm}", data="digits", build=conv(norm=norm), aim=contrastive, steps=200)
        yield Variant(name=f"supcon_{norm}", data="digits", build=conv(norm=norm), d=128, aim=supervised_contrastive)
        yield Variant(name=f"triplet_{norm}", data="digits", build=conv(norm=norm), aim=triplet, steps=200)
        yield Variant(
            name=f"autoencoder_{norm}", data="digits", build=conv(norm=norm), d=32, aim=autoencoder, steps=300
        )
        # Nothing in VICReg keeps a common offset away: that there is one may be said.
        free = frozenset({"common-offset"}) if norm == "none" else frozenset()
        yield Variant(name=f"vicreg_{norm}", data="digits", build=conv(norm=norm), aim=vicreg, steps=250, allowed=free)
    yield Variant(name="regression", data="digits", build=conv(), aim=regression, steps=300)
    yield Variant(name="unit_triplet", data="digits", build=then(conv(), Unit), d=16, aim=triplet, steps=200)
    yield Variant(name="unit_contrastive", data="digits", build=then(conv(norm="batch"), Unit), aim=contrastive)


def read_outs() -> Iterator[Variant]:
    """Features of one sign, squashed ones, pooled ones, and those before the head."""
    yield Variant(name="relu_plain", data="digits", build=then(conv(), nn.ReLU))
    yield Variant(name="relu_perceptron", data="digits", build=then(mlp(2), nn.ReLU), d=256, labels=False)
    yield Variant(name="sigmoid_features", data="digits", build=then(mlp(2), nn.Sigmoid), d=32)
    yield Variant(name="pooled", data="digits", build=conv(depth=4, norm="batch", pooled=True), d=128)
    yield Variant(
        name="before_the_head",
        data="digits",
        build=classifier(conv(norm="batch")),
        aim=with_own_head,
        options={"layer": "1"},
    )


def classes() -> Iterator[Variant]:
    """Few classes, few items, imbalance, and classifiers trained far past zero error."""
    far: dict[str, Any] = {"steps": 700, "on_training": True, "weight_decay": 5e-4}
    yield Variant(name="terminal_ten", data="digits", build=conv(norm="batch"), **far)
    yield Variant(name="terminal_plain", data="digits", build=conv(depth=4), d=128, **far)
    yield Variant(name="terminal_two", data="digits:38", build=conv(norm="batch"), n=200, **far)
    yield Variant(name="terminal_three", data="digits:149", build=mlp(3), **far)
    yield Variant(name="two_digits", data="digits:17", build=conv(), d=32)
    yield Variant(name="three_digits_no_labels", data="digits:149", build=conv(norm="batch"), labels=False)
    yield Variant(name="ten_scan_three", data="digits", build=conv(norm="batch"), n=150, scanned=(1, 4, 7))
    yield Variant(name="ten_scan_one", data="digits", build=conv(norm="batch"), n=100, scanned=(2,))
    yield Variant(name="forty_digits", data="digits", build=conv(norm="batch"), n=40)
    yield Variant(name="sixty_four_plain", data="digits", build=conv(), d=256, n=64)
    yield Variant(name="imbalanced", data="digits", build=conv(norm="batch"), n=220, rare=True)
    yield Variant(name="wine", data="wine", build=mlp(2, width=32), d=16, n=178)
    yield Variant(name="iris_wide", data="iris", build=mlp(1, width=64), n=150)
    yield Variant(name="breast_cancer", data="breast_cancer", build=mlp(2, width=64), d=32, n=400)


def untrained() -> Iterator[Variant]:
    """Nets at random that keep what the input tells, or of which nothing may be said but that nobody trained them."""
    yield Variant(name="random_linear", data="digits", build=mlp(0), aim=None, allowed=UNTRAINED)
    yield Variant(name="random_residual", data="digits", build=residual(), aim=None, allowed=UNTRAINED)
    yield Variant(name="random_conv", data="digits", build=conv(norm="batch"), aim=None, allowed=UNTRAINED)
    for name in ("resnet18", "mobilenet_v3_small"):
        yield Variant(
            name=f"random_{name}", data="patches", build=library(name), aim=None, n=200, allowed=UNTRAINED,
            options={"size": 64},
        )  # fmt: skip


VARIANTS = {variant.name: variant for variant in variants()}


def __getattr__(name: str) -> Callable[[], nn.Module]:
    if name in VARIANTS:
        return VARIANTS[name].builder
    raise AttributeError(name)
