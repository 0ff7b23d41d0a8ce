"""Reports of what was no collapse."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.casebook_parts.case import Case, replay, sample
from benchmarks.zoo_parts.data import load
from benchmarks.zoo_parts.networks import conv
from benchmarks.zoo_parts.objectives import contrastive, cross_entropy, fit
from sample_models import architectures
from sample_models.networks import Codebook
from sample_models.planting import handed
from sample_models.sample import Sample
from sample_models.working import data, working

CASES: list[Case] = []


@replay(CASES, "resemble-ai/Resemblyzer#15", "mostly zeros: a ReLU ends a sound model")
def _final_relu() -> Sample:
    return handed(architectures.perceptron, working(architectures.perceptron), layer="6")


@replay(CASES, "PyRetri/PyRetri#4", "averages of rectified maps are all alike by cosine")
def _pooled() -> Sample:
    known = load("digits", 0)
    torch.manual_seed(0)
    build = conv(depth=4, width=48, pooled=True)
    encoder = build((1, 8, 8), 64)
    fit(encoder, cross_entropy(encoder, known, 64), known.training, steps=300)
    made = sample(
        "pooled", lambda shape, d: build(shape, 64), nn.Sequential(encoder, nn.Linear(64, 64)), known.inputs[:400]
    )
    return Sample(build=made.build, state=encoder.state_dict(), inputs=made.inputs, labels=known.truth[:400])


@replay(
    CASES,
    "huggingface/transformers#2298",
    "never trained for cosine: a common direction, ranks intact",
    "common-offset",
    "rogue-dimension",
    "",
)
def _cone() -> Sample:
    encoder = working(architectures.transformer)
    bias = encoder.get_parameter("head.bias").data
    bias.add_(3 * torch.randn(bias.shape, generator=torch.Generator().manual_seed(0)))
    return handed(architectures.transformer, encoder)


@replay(CASES, "xlang-ai/instructor-embedding#51", "cosines of .4 to .9 throughout: use ranks")
def _narrow() -> Sample:
    encoder = working(architectures.transformer, 1)
    bias = encoder.get_parameter("head.bias").data
    rows = encoder(data()[0][:64])
    bias.add_(1.5 * float(rows.std()) * torch.randn(bias.shape, generator=torch.Generator().manual_seed(0)))
    return handed(architectures.transformer, encoder)


@replay(CASES, "HobbitLong/SupContrast#14", "a loss that looks high, features are fine")
def _contrastive() -> Sample:
    known = load("digits", 0)
    torch.manual_seed(0)
    build = conv(norm="batch")
    encoder = build((1, 8, 8), 64)
    fit(encoder, contrastive(encoder, known, 64), known.training, steps=150)
    return sample("contrastive", build, encoder, known.inputs[:400], known.truth[:400])


@replay(CASES, "bshall/VectorQuantizedVAE#3", "few of many codes in use, on a small batch")
def _small_batch_of_codes() -> Sample:
    known = load("digits", 0)
    torch.manual_seed(0)

    def build(shape: tuple[int, ...], d: int) -> nn.Module:
        return nn.Sequential(conv(norm="batch")(shape, d), Codebook(512, d))

    encoder = build((1, 8, 8), 64)
    fit(encoder[0], cross_entropy(encoder[0], known, 64), known.training, steps=120)  # type: ignore[index]
    with torch.no_grad():
        picked = encoder[0](known.inputs[600:1112])  # type: ignore[index]
        encoder[1].codes.copy_(picked)  # type: ignore[index]
    return sample("codes", build, encoder, known.inputs[:64], known.truth[:64])


@replay(CASES, "aditya-grover/node2vec#63", "the model is sound, the user's own cosine was wrong")
def _sound() -> Sample:
    return handed(architectures.recurrent, working(architectures.recurrent))


@replay(CASES, "openai/CLIP#405", "two modalities lie apart, and cosines across them are small")
def _modality_gap() -> Sample:
    known = load("digits", 0)
    torch.manual_seed(0)
    build = conv(norm="batch")
    encoder = build((1, 8, 8), 64)
    fit(encoder, cross_entropy(encoder, known, 64), known.training, steps=120)
    both = torch.cat([known.inputs[:200], 1 - known.inputs[200:400]])
    return sample("gap", build, encoder, both)


@replay(CASES, "omoindrot/tensorflow-triplet-loss#27", "memorised six identities; others are close, but apart")
def _memorised() -> Sample:
    known = load("digits:012345", 0)
    torch.manual_seed(0)
    build = conv(norm="batch")
    encoder = build((1, 8, 8), 64)
    fit(encoder, cross_entropy(encoder, known, 64), known.training, steps=200)
    others = load("digits:6789", 0)
    return sample("memorised", build, encoder, others.inputs[:300], others.truth[:300])
