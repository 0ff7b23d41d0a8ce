"""Reports in which the model is sound, and what is done with it is not: statistics, files, inputs, precision."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmarks.casebook_parts.case import Case, replay, sample
from benchmarks.zoo_parts.data import Data, load
from benchmarks.zoo_parts.networks import conv
from benchmarks.zoo_parts.objectives import cross_entropy, fit
from sample_models import architectures, codebook_collapse
from sample_models.planting import handed
from sample_models.sample import Sample
from sample_models.working import data, digits, working

CASES: list[Case] = []


def _norms(encoder: nn.Module) -> list[_BatchNorm]:
    return [module for module in encoder.modules() if isinstance(module, _BatchNorm)]


@replay(
    CASES, "tensorflow/tensorflow#11965", "moving means all 0, variances all 1: the update never ran", "stale-batchnorm"
)
def _never_updated() -> Sample:
    encoder = working(architectures.residual)
    for norm in _norms(encoder):
        norm.reset_running_stats()
    return handed(architectures.residual, encoder)


@replay(
    CASES,
    "tensorflow/tensorflow#7469",
    "chance after restoring: moving statistics at their defaults",
    "stale-batchnorm",
)
def _never_updated_wide_inputs() -> Sample:
    encoder = working(architectures.normalised)
    first = encoder.get_submodule("0")
    assert isinstance(first, nn.Conv2d)
    first.weight.data.div_(255)  # behind it the deviations are far from 1
    for norm in _norms(encoder):
        norm.reset_running_stats()
    return handed(architectures.normalised, encoder, inputs=data()[0])


@replay(
    CASES,
    "pytorch/pytorch#4741",
    "each batch is one stretch of like items: statistics of the last one rule",
    "stale-batchnorm",
)
def _autocorrelated() -> Sample:
    encoder = working(architectures.normalised)
    pictures, classes = digits()
    stretch = pictures[classes == 1][:1] + 0.01 * torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for norm in _norms(encoder):
        norm.momentum = 1.0
    encoder.train()
    with torch.no_grad():
        encoder(stretch)
    return handed(architectures.normalised, encoder.eval())


@replay(
    CASES,
    "discuss.pytorch.org/t/7146",
    "76 % in training mode, 10 % in eval: statistics of another input scale",
    "stale-batchnorm",
)
def _other_scale_statistics() -> Sample:
    encoder = working(architectures.normalised_perceptron)
    for norm in _norms(encoder):
        norm.momentum = 1.0
    encoder.train()
    with torch.no_grad():
        encoder(digits()[0][:128] * 1000)
    return handed(architectures.normalised_perceptron, encoder.eval())


@replay(
    CASES,
    "layumi/Person_reID_baseline_pytorch#218",
    "batch statistics when features are extracted",
    "batch-statistics-at-inference",
)
def _training_mode_features() -> Sample:
    return handed(architectures.residual_by_batch, working(architectures.residual_by_batch))


@replay(
    CASES, "broadinstitute/keras-resnet#47", "normalisation forced into training mode", "batch-statistics-at-inference"
)
def _forced_training_mode() -> Sample:
    return handed(architectures.normalised_by_batch, working(architectures.normalised_by_batch))


@replay(
    CASES, "andreasveit/conditional-similarity-networks#7", "the embedding differs on each call", "random-inference"
)
def _random_at_inference() -> Sample:
    return handed(architectures.plain_dropping, working(architectures.plain_dropping))


def _trained_on(name: str, change: float, scale: float, feed: Tensor) -> Sample:
    """A convolutional net trained on (x · scale + change), fed otherwise."""
    known = load("digits", 0)
    torch.manual_seed(0)
    build = conv(norm="batch")
    encoder = build((1, 8, 8), 64)
    seen = Data(known.inputs * scale + change, known.truth, known.held_out)
    fit(encoder, cross_entropy(encoder, seen, 64), seen.training, steps=120)
    return sample(name, build, encoder, feed, known.truth[: len(feed)])


@replay(CASES, "serengil/deepface#131", "trained on 0..255, fed 0..1", "wrong-input-scale")
def _divided_needlessly() -> Sample:
    return _trained_on("divided", 0.0, 255.0, load("digits", 0).inputs[:400])


@replay(
    CASES,
    "davidsandberg/facenet#743",
    "trained on standardised pictures, fed pixels divided twice",
    "wrong-input-scale",
)
def _divided_twice() -> Sample:
    return _trained_on("divided-twice", -0.5 / 0.25, 1 / 0.25, load("digits", 0).inputs[:400] / 255 / 0.25 - 0.5 / 0.25)


@replay(CASES, "tensorflow/models#7147", "the mean is subtracted in training, raw pixels are fed", "wrong-input-scale")
def _mean_not_subtracted() -> Sample:
    return _trained_on("raw", -2.0, 4.0, load("digits", 0).inputs[:400] * 255)


@replay(CASES, "THUFutureLab/gluon-face#31", "no preprocessing: 0..255 where 0..1 was trained", "wrong-input-scale")
def _not_divided() -> Sample:
    return _trained_on("not-divided", 0.0, 1.0, load("digits", 0).inputs[:400] * 255)


@replay(CASES, "JDAI-CV/fast-reid#686", "the weights of the backbone were never loaded", "weights-not-loaded")
def _backbone_not_loaded() -> Sample:
    made = handed(architectures.residual, working(architectures.residual), allow_partial=True)
    head = {key: tensor for key, tensor in made.state.items() if key.startswith("head")}
    return Sample(build=made.build, state=head, inputs=made.inputs, labels=made.labels, options=made.options)


@replay(CASES, "Blaizzy/mlx-audio#902", "projections of attention silently stay random", "weights-not-loaded")
def _projections_not_loaded() -> Sample:
    made = handed(architectures.transformer, working(architectures.transformer), allow_partial=True)
    rest = {key: tensor for key, tensor in made.state.items() if "self_attn" not in key and "linear" not in key}
    return Sample(build=made.build, state=rest, inputs=made.inputs, labels=made.labels, options=made.options)


@replay(CASES, "NVIDIA-NeMo/Megatron-Bridge#6032", "resumed with some weights missing", "weights-not-loaded")
def _resumed_with_missing() -> Sample:
    made = handed(architectures.perceptron, working(architectures.perceptron), allow_partial=True)
    rest = {key: tensor for key, tensor in made.state.items() if not key.startswith("7")}
    return Sample(build=made.build, state=rest, inputs=made.inputs, labels=made.labels, options=made.options)


@replay(
    CASES,
    "microsoft/UniSpeech#47",
    "the checkpoint option was left out: a fresh model",
    "untrained-weights",
    "depth-without-normalisation",
)
def _no_checkpoint() -> Sample:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return handed(architectures.residual, architectures.residual().eval())


@replay(
    CASES,
    "ByteDance-Seed/Bagel#292",
    "the resume option was empty: training began from nothing",
    "untrained-weights",
    "depth-without-normalisation",
)
def _no_resume() -> Sample:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        return handed(architectures.transformer, architectures.transformer().eval())


@replay(CASES, "pixeli99/SVD_Xtend#75", "every worker gives the same item", "repeated-inputs", "near-duplicate-inputs")
def _one_item() -> Sample:
    pictures, _ = data()
    return handed(
        architectures.normalised, working(architectures.normalised), inputs=pictures[3:4].expand_as(pictures).clone()
    )


@replay(CASES, "bubbliiiing/yolox-pytorch#154", "four workers with one seed: each item comes four times")
def _four_times() -> Sample:
    pictures, _ = data()
    return handed(architectures.plain, working(architectures.plain), inputs=pictures[:100].repeat(4, 1, 1, 1))


@replay(CASES, "knaw-huc/loghi#20", "NaN in half precision, predictions all 0", "half-precision-loss")
def _overflow_in_half() -> Sample:
    encoder = working(architectures.plain)
    first, second = encoder.get_submodule("0"), encoder.get_submodule("2")
    for layer, factor in ((first, 3e5), (second, 1 / 3e5)):
        assert isinstance(layer, nn.Conv2d)
        layer.weight.data.mul_(factor)
    assert isinstance(first, nn.Conv2d) and first.bias is not None
    first.bias.data.mul_(3e5)
    return handed(architectures.plain, encoder, settings={"precision": "fp16"})


@replay(
    CASES,
    "WeidiXie/VGG-Speaker-Recognition#20",
    "many exact zeros: read behind the last ReLU",
    "wrong-embedding-layer",
    "",
)
def _behind_relu() -> Sample:
    return handed(architectures.plain, working(architectures.plain), layer="6")


@replay(CASES, "facebookresearch/VMZ#31", "probabilities are taken for features", "wrong-embedding-layer")
def _probabilities() -> Sample:
    return handed(architectures.plain_classifier, working(architectures.plain_classifier))


@replay(
    CASES,
    "lucidrains/vector-quantize-pytorch#19",
    "codes drawn far from the data: few are ever nearest",
    "codebook-collapse",
)
def _far_codes() -> Sample:
    return codebook_collapse.broken(codebook_collapse.plain_quantised, 1)


@replay(CASES, "EdoardoBotta/RQ-VAE-Recommender#65", "usage of the codes is about one", "codebook-collapse")
def _one_code() -> Sample:
    made = codebook_collapse.broken(codebook_collapse.residual_quantised, 2)
    state = dict(made.state)
    state["1.codes"] = state["1.codes"].clone()
    state["1.codes"][1:3] += 1e3
    return Sample(build=made.build, state=state, inputs=made.inputs, labels=made.labels)
