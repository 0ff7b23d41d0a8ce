"""Models that work: their neighbours tell the truth, whatever their cosines and ranks are."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from benchmarks.zoo_parts.data import load
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
from benchmarks.zoo_parts.recipes import HEALTHY, Recipe, Sample, Whole, embed, score

# The neighbours must be at least this good, 0 being chance and 1 perfect.
GOOD = 0.5
# The progress of diabetes is hard to tell, and two views of one letter do not say which letter it is.
MODEST = 0.25
# Forty rows are few: not to judge them is no false alarm.
FEW = HEALTHY | {"inconclusive"}
# Nothing in the objective keeps a common offset away, so a high cosine may rightly be remarked upon.
OFFSET_IS_FREE = HEALTHY | {"degraded"}


def recipes() -> Iterator[Recipe]:
    """All of them, by kind of variation."""
    yield from architectures()
    yield from perceptrons()
    yield from objectives()
    yield from read_outs()
    yield from few_classes()
    yield from small_sets()
    yield from unlabelled()
    yield from terminal()
    yield from untrained()


def raised(
    name: str,
    data: str,
    build: Build,
    d: int = 64,
    aim: Aim | None = cross_entropy,
    *,
    n: int = 360,
    steps: int = 150,
    labels: bool = True,
    scanned: tuple[int, ...] | None = None,
    on_training: bool = False,
    weight_decay: float = 0.0,
    rate: float = 2e-3,
    least: float = GOOD,
    expected: frozenset[str] = HEALTHY,
) -> Recipe:
    """Train an encoder on `data` and scan `n` rows of it: held-out ones first, then, where they end, the others."""

    def whole(seed: int) -> Whole:
        known = load(data, seed)
        torch.manual_seed(seed)
        encoder = build(tuple(known.inputs.shape[1:]), d)
        if aim is not None:
            fit(encoder, aim(encoder, known, d), known.training, steps=steps, rate=rate, weight_decay=weight_decay)
        seen = known.training if on_training else known
        good = score(embed(encoder, seen.inputs[:1000]), seen.truth)
        if scanned:
            seen = seen.only(scanned)
        inputs = seen.inputs[:n]
        known_classes = seen.truth[:n] if labels and seen.is_classes else None
        return Whole(encoder, inputs, known_classes, good)

    def make(seed: int) -> Sample:
        made = whole(seed)
        return Sample(embed(made.encoder, made.inputs), made.inputs, made.labels, made.score)

    return Recipe(
        f"healthy/{name}", expected, None, make, lambda value: value >= least, whole, lambda shape: build(shape, d)
    )


def architectures() -> Iterator[Recipe]:
    """One of each family, on digits and on letters."""
    yield raised("conv-plain", "digits", conv())
    yield raised("conv-batch-norm", "digits", conv(norm="batch"), 128, n=1000)
    yield raised("conv-group-norm", "digits", conv(norm="group"), 32, n=200)
    yield raised("conv-layer-norm", "digits", conv(norm="layer"), 64, n=1700)
    yield raised("conv-gelu-deep", "digits", conv(depth=5, act=nn.GELU), 64, steps=250)
    yield raised("conv-tanh", "digits", conv(act=nn.Tanh), 256, n=200)
    yield raised("conv-batch-norm-deep", "digits", conv(depth=8, norm="batch"), 64, n=100)
    yield raised("conv-leaky", "digits", conv(act=nn.LeakyReLU), 16, n=1000)
    yield raised("residual", "digits", residual(), 64, n=360)
    yield raised("residual-group-norm", "digits", residual(norm="group"), 128, n=64)
    yield raised("residual-no-norm", "digits", residual(blocks=2, norm="none"), 32, n=1000)
    yield raised("transformer", "digits", transformer(), 64, steps=200)
    yield raised("transformer-cls", "digits", transformer(cls=True), 128, n=200, steps=250)
    yield raised("recurrent", "digits", recurrent(), 64, steps=250)
    yield raised("recurrent-state", "digits", recurrent(linear=False), 32, n=1700, steps=250)
    yield raised("letters-conv-plain", "glyphs", conv(depth=4), 128, n=1000, steps=200)
    yield raised("letters-conv-batch-norm", "glyphs", conv(depth=4, norm="batch"), 512, n=1700)
    yield raised("letters-conv-layer-norm", "glyphs", conv(depth=4, norm="layer"), 64, n=200, steps=250)
    yield raised("letters-residual", "glyphs", residual(), 256, n=360)
    yield raised("letters-transformer", "glyphs", transformer(patch=8, depth=3), 64, n=1000, steps=500)
    yield raised("letters-recurrent", "glyphs", recurrent(), 128, n=360, steps=400)


def perceptrons() -> Iterator[Recipe]:
    """Depth 1 to 8, embeddings 8 to 512 wide, each activation and norm."""
    yield raised("mlp-1-d8", "digits", mlp(1), 8, n=1000)
    yield raised("mlp-2-d16", "digits", mlp(2), 16, n=200)
    yield raised("mlp-3-gelu-d32", "digits", mlp(3, act=nn.GELU), 32, n=64)
    yield raised("mlp-4-d64", "digits", mlp(4), 64, n=360, steps=250)
    yield raised("mlp-2-tanh-d128", "digits", mlp(2, act=nn.Tanh), 128, n=1700)
    yield raised("mlp-5-tanh-d256", "digits", mlp(5, act=nn.Tanh), 256, n=360)
    yield raised("mlp-2-sigmoid-d64", "digits", mlp(2, act=nn.Sigmoid), 64, n=360, steps=500)
    yield raised("mlp-3-sigmoid-batch-norm", "digits", mlp(3, act=nn.Sigmoid, norm="batch"), 32, n=200)
    yield raised("mlp-8-batch-norm", "digits", mlp(8, norm="batch"), 64, n=1000)
    yield raised("mlp-6-layer-norm", "digits", mlp(6, norm="layer"), 512, n=360)
    yield raised("mlp-6-plain", "digits", mlp(6), 64, n=360, steps=400)
    yield raised("mlp-1-d512", "digits", mlp(1, width=256), 512, n=1700)
    yield raised("linear-d64", "digits", mlp(0), 64, n=360)
    yield raised("letters-mlp-2-d512", "glyphs", mlp(2, width=256), 512, n=1700, steps=250)
    yield raised("letters-mlp-3-layer-norm-d8", "glyphs", mlp(3, norm="layer"), 8, n=1000, steps=400)


def objectives() -> Iterator[Recipe]:
    """Each objective with and without normalisation."""
    for norm in ("batch", "none"):
        yield raised(f"contrastive-{norm}", "digits", conv(norm=norm), 64, contrastive, steps=200)
        yield raised(f"supervised-contrastive-{norm}", "digits", conv(norm=norm), 128, supervised_contrastive)
        yield raised(f"triplet-{norm}", "digits", conv(norm=norm), 64, triplet, steps=200)
        yield raised(f"autoencoder-{norm}", "digits", conv(norm=norm), 32, autoencoder, n=1000, steps=300)
        free = OFFSET_IS_FREE if norm == "none" else HEALTHY
        yield raised(f"vicreg-{norm}", "digits", conv(norm=norm), 64, vicreg, n=200, steps=250, expected=free)
    yield raised("regression", "digits", conv(), 64, regression, n=360, steps=300)
    yield raised("letters-contrastive", "glyphs", conv(depth=4, norm="batch"), 128, contrastive, n=1000, least=MODEST)
    yield raised("letters-supervised-contrastive", "glyphs", conv(depth=4), 64, supervised_contrastive, steps=300)
    yield raised("letters-triplet", "glyphs", conv(depth=4, norm="batch"), 64, triplet, n=200, steps=250)
    yield raised("letters-vicreg", "glyphs", conv(depth=4, norm="batch"), 256, vicreg, n=1000, least=MODEST)


def read_outs() -> Iterator[Recipe]:
    """What the embedding is taken from: signed, after ReLU, pooled, squashed, on the unit sphere."""
    yield raised("relu-plain", "digits", then(conv(), nn.ReLU), 64)
    yield raised("relu-batch-norm", "digits", then(conv(norm="batch"), nn.ReLU), 128, n=1000)
    yield raised("relu-mlp-d256", "digits", then(mlp(2), nn.ReLU), 256, n=360)
    yield raised("relu-letters", "glyphs", then(conv(depth=4, norm="batch"), nn.ReLU), 512, n=1000)
    yield raised("pooled-plain", "digits", conv(depth=4, width=48, pooled=True), 64, steps=500)
    yield raised("pooled-batch-norm", "digits", conv(depth=4, norm="batch", pooled=True), 128, n=200)
    yield raised("pooled-letters", "glyphs", conv(depth=5, norm="batch", pooled=True), 256, n=1700, steps=250)
    yield raised("tanh", "digits", then(mlp(2), nn.Tanh), 64)
    yield raised("sigmoid", "digits", then(mlp(2), nn.Sigmoid), 32, n=1000)
    yield raised("unit-contrastive", "digits", then(conv(norm="batch"), Unit), 128, contrastive, n=200, steps=200)
    yield raised("unit-triplet", "digits", then(conv(), Unit), 16, triplet, n=1000, steps=200)


def few_classes() -> Iterator[Recipe]:
    """Two to five classes, and models of ten that meet only some of them."""
    yield raised("two-digits", "digits:38", conv(norm="batch"), 64, n=200)
    yield raised("two-digits-plain", "digits:17", conv(), 32, n=360)
    yield raised("three-digits", "digits:149", conv(), 64, n=360)
    yield raised("five-digits", "digits:02468", mlp(2), 128, n=360)
    yield raised("ten-scan-three", "digits", conv(norm="batch"), 64, n=200, scanned=(1, 4, 7))
    yield raised("ten-scan-two", "digits", conv(), 64, n=100, scanned=(3, 5))
    yield raised("ten-scan-one", "digits", conv(norm="batch"), 64, n=100, scanned=(2,))
    yield raised("letters-scan-five", "glyphs", conv(depth=4, norm="batch"), 128, n=200, scanned=(0, 1, 2, 3, 4))
    yield raised("two-photographs", "patches", conv(norm="batch"), 64, n=360)


def small_sets() -> Iterator[Recipe]:
    """Tables with few columns and few rows, and few rows of pictures."""
    yield raised("wine", "wine", mlp(2, width=32), 16, n=178)
    yield raised("wine-wide", "wine", mlp(1), 128, n=100)
    yield raised("breast-cancer", "breast_cancer", mlp(2, width=64), 32, n=569)
    yield raised("breast-cancer-relu", "breast_cancer", then(mlp(1), nn.ReLU), 64, n=200)
    yield raised("iris", "iris", mlp(2, width=32), 8, n=150)
    yield raised("iris-wide", "iris", mlp(1, width=64), 64, n=150)
    yield raised("diabetes", "diabetes", mlp(1, width=64), 32, n=360, steps=60, least=MODEST)
    yield raised("wine-autoencoder", "wine", mlp(1, width=64), 8, autoencoder, n=178, steps=400)
    yield raised("forty-digits", "digits", conv(norm="batch"), 64, n=40, expected=FEW)
    yield raised("forty-letters", "glyphs", conv(depth=4, norm="batch"), 128, n=40, expected=FEW)
    yield raised("sixty-four-plain", "digits", conv(), 256, n=64)
    yield raised("hundred-wide", "digits", mlp(2), 512, n=100)


def unlabelled() -> Iterator[Recipe]:
    """The same without labels for the scan, so that class structure cannot excuse anything."""
    yield raised("no-labels-conv", "digits", conv(norm="batch"), 64, labels=False)
    yield raised("no-labels-plain", "digits", conv(), 64, labels=False, n=1000)
    yield raised("no-labels-mlp", "digits", mlp(2), 128, labels=False, n=200)
    yield raised("no-labels-letters", "glyphs", conv(depth=4), 128, labels=False, n=360, steps=250)
    yield raised("no-labels-patches", "patches", conv(norm="batch"), 64, autoencoder, labels=False, n=1000, steps=200)
    yield raised("no-labels-patches-vicreg", "patches", conv(norm="batch"), 64, vicreg, labels=False, steps=200)
    yield raised("no-labels-three-digits", "digits:149", conv(norm="batch"), 64, labels=False, n=360)
    yield raised("no-labels-wine", "wine", mlp(1), 32, labels=False, n=178)


def terminal() -> Iterator[Recipe]:
    """Classifiers trained far past zero error and scanned on their training data: expected neural collapse."""
    far = {"steps": 700, "on_training": True, "weight_decay": 5e-4}
    yield raised("terminal-ten", "digits", conv(norm="batch"), 64, n=360, **far)
    yield raised("terminal-ten-mlp", "digits", mlp(3, norm="batch"), 64, n=1000, **far)
    yield raised("terminal-ten-plain", "digits", conv(depth=4), 128, n=360, **far)
    yield raised("terminal-two", "digits:38", conv(norm="batch"), 64, n=200, **far)
    yield raised("terminal-two-mlp", "digits:17", mlp(3), 32, n=200, **far)
    yield raised("terminal-three", "digits:149", conv(norm="batch"), 64, n=360, **far)
    yield raised("terminal-cancer", "breast_cancer", mlp(3, width=64), 32, n=360, **far)


def untrained() -> Iterator[Recipe]:
    """Random features of one layer keep what the input tells."""
    yield raised("random-linear", "digits", mlp(0), 64, None)
    yield raised("random-relu", "digits", then(mlp(0), nn.ReLU), 256, None, n=1000)
    yield raised("random-one-hidden-wine", "wine", mlp(1), 64, None, n=178)
    yield raised("random-conv", "digits", then(conv(depth=1, norm="batch"), nn.Tanh), 128, None)
