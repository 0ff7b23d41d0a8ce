"""Reports in which training itself went wrong."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import nn

from benchmarks.casebook_parts.case import Case, replay, sample
from benchmarks.zoo_parts.data import Data, load
from benchmarks.zoo_parts.faulty import (
    attraction,
    batch_hard,
    constant,
    constant_head_too,
    one_class,
    sigmoid_of_cosine,
)
from benchmarks.zoo_parts.networks import Build, conv, mlp, then, transformer
from benchmarks.zoo_parts.objectives import Aim, Objective, autoencoder, cross_entropy, fit
from sample_models import architectures
from sample_models.planting import handed
from sample_models.sample import Sample
from sample_models.working import working

CASES: list[Case] = []
# What leads to one point in training; a rate that was too high shows in the file as the units that it killed.
GRADUAL = ("loss-without-repulsion", "hard-mining-collapse", "learning-rate-too-high", "dead-relu")


def _trained(
    name: str, build: Build, aim: Aim, *, steps: int = 150, d: int = 64, seed: int = 0, **training: object
) -> Sample:
    """Trained on digits from nothing, and scanned on others."""
    known = load("digits", seed)
    torch.manual_seed(seed)
    encoder = build((1, 8, 8), d)
    fit(encoder, aim(encoder, known, d), known.training, steps=steps, **training)  # type: ignore[arg-type]
    return sample(name, build, encoder, known.inputs[:400], known.truth[:400])


@replay(CASES, "mlelarge/graph_neural_net#9", "the ReLU at the end is stuck at zero", "dead-relu")
def _final_relu() -> Sample:
    encoder = working(architectures.perceptron)
    last = encoder.get_submodule("5")
    assert isinstance(last, nn.Linear)
    last.bias.data.sub_(30)
    return handed(architectures.perceptron, encoder, layer="6")


@replay(CASES, "MollyZhang/Multi-task-TCGA-learning#16", "ReLU autoencoder, all hidden units negative", "dead-relu")
def _dead_autoencoder() -> Sample:
    made = _trained("dead-autoencoder", mlp(2), autoencoder)
    state = dict(made.state)
    key = [name for name in state if name.endswith("bias")][1]
    state[key] = state[key] - 40
    return replace(made, state=state)


@replay(
    CASES,
    "stackoverflow.com/q/52800582",
    "sigmoids driven into their flat part by inputs of a hundred",
    "saturated-activation",
    "wrong-input-scale",
)
def _saturated() -> Sample:
    made = _trained("saturated", mlp(2, act=nn.Sigmoid), cross_entropy, steps=300)
    return replace(made, inputs=made.inputs * 1000 + 5000)


@replay(
    CASES,
    "HomericIntelligence/Mnemosyne#1987",
    "uniform fill as initialisation, then training",
    "constant-initialisation",
)
def _uniform_fill() -> Sample:
    return _trained("uniform-fill", constant(mlp(2), 0.01), constant_head_too)


@replay(CASES, "yz93/LAVT-RIS#25", "two layers in series start at zero, and stay there", "constant-initialisation")
def _two_zeroed() -> Sample:
    def build(shape: tuple[int, ...], d: int) -> nn.Module:
        encoder = mlp(3)(shape, d)
        linear = [module for module in encoder.modules() if isinstance(module, nn.Linear)]
        for layer in linear[-2:]:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        return encoder

    return _trained("two-zeroed", build, cross_entropy)


@replay(CASES, "lyst/lightfm#96", "a penalty so strong that all weights are 0", "excessive-weight-decay")
def _decayed() -> Sample:
    return _trained("decayed", mlp(3), cross_entropy, steps=400, rate=5e-3, weight_decay=1.0)


@replay(
    CASES,
    "omoindrot/tensorflow-triplet-loss#6",
    "triplets from nothing, dense layers: the loss is the margin",
    *GRADUAL,
)
def _triplets_dense() -> Sample:
    return _trained("batch-hard-mlp", mlp(3), batch_hard, rate=3e-2)


@replay(CASES, "omoindrot/tensorflow-triplet-loss#37", "hardest triplets, convolutions without normalisation", *GRADUAL)
def _triplets_conv() -> Sample:
    return _trained("batch-hard-conv", conv(), batch_hard, rate=3e-2)


@replay(CASES, "facebookresearch/simsiam#40", "only positives, no stop-gradient: the loss is -1 at once", *GRADUAL)
def _only_positives() -> Sample:
    return _trained("attraction", conv(), attraction, steps=300)


@replay(
    CASES,
    "yzhao062/pyod#385",
    "DeepSVDD with biases: they alone reach the centre",
    "loss-without-repulsion",
    "common-offset",
)
def _one_class() -> Sample:
    return _trained("one-class", conv(), one_class, steps=300)


@replay(
    CASES,
    "keras-team/keras-io#2261",
    "a sigmoid caps the similarity; deep, plain, slow",
    "loss-without-repulsion",
    "depth-without-normalisation",
    "untrained-weights",
    "bounded-similarity-loss",
)
def _capped() -> Sample:
    slow = partial(torch.optim.SGD, momentum=0.9)
    return _trained("capped", conv(depth=10), sigmoid_of_cosine, rate=0.01, optimiser=slow)


@replay(
    CASES,
    "huggingface/transformers#735",
    "a transformer trained at 0.1: every input gives the same",
    "learning-rate-too-high",
    "dead-relu",
    "saturated-activation",
)
def _transformer_rate() -> Sample:
    return _trained("transformer-rate", transformer(), cross_entropy, rate=0.1, steps=100)


@replay(
    CASES,
    "lucidrains/byol-pytorch#44",
    "a rate of .2 with Adam: most of the representation is 0",
    "learning-rate-too-high",
    "dead-relu",
)
def _adam_rate() -> Sample:
    return _trained("adam-rate", then(mlp(4), nn.ReLU), cross_entropy, rate=0.3)


@replay(
    CASES,
    "ThilinaRajapakse/simpletransformers#234",
    "one rate for head and body: the body is destroyed",
    "learning-rate-too-high",
    "dead-relu",
)
def _one_rate() -> Sample:
    return _trained("one-rate", mlp(4), cross_entropy, rate=0.3, seed=1)


@replay(
    CASES,
    "discuss.pytorch.org/t/184224",
    "products regressed on ratings far from zero: one common direction",
    "common-offset",
)
def _raw_ratings() -> Sample:
    def aim(encoder: nn.Module, _data: Data, _d: int) -> Objective:
        def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            rows = encoder(x)
            same = (y[:, None] == y[None]).float()
            return nn.functional.mse_loss(rows @ rows.T, 99 + same)

        return Objective(loss)

    return _trained("raw-ratings", conv(norm="batch"), aim, steps=250)


@replay(CASES, "molecularsets/moses#45", "the divergence is 0: the mean says nothing", "posterior-collapse")
def _posterior() -> Sample:
    def aim(encoder: nn.Module, _data: Data, d: int) -> Objective:
        decoder = nn.Sequential(nn.Linear(d, 128), nn.ReLU(), nn.Linear(128, 64))

        def loss(x: torch.Tensor, _y: torch.Tensor) -> torch.Tensor:
            mean = encoder(x)
            rebuilt = decoder(mean + torch.randn_like(mean))
            return nn.functional.mse_loss(rebuilt, x.flatten(1)) + mean.square().sum(1).mean() / 2

        return Objective(loss, (decoder,))

    return _trained("posterior", mlp(2), aim, steps=300)
