"""Reports of real projects, replayed from their description on small nets: is what went wrong there named.

    python benchmarks/casebook.py [--only triplet] [--seed 0]

Each case is what its thread says was done, in our own code, on 8x8 digits; none takes more than some seconds of
training. Where the thread ended with "nothing is wrong", nobody may be accused. Printed are the case, the causes that
would be right, and what the scan names; the exit code says whether a case was missed or a sound one accused.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

# This folder has a statistics.py, which would hide the one of the standard library from torch.
HERE = Path(__file__).resolve().parent
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
if str(HERE.parent) not in sys.path:
    sys.path.insert(0, str(HERE.parent))

import torch
from torch import Tensor, nn
from torch.nn import functional

from sample_models import architectures
from sample_models.objectives import (
    MARGIN,
    Training,
    attraction,
    checkpoint,
    classification,
    hardest_triplets,
    inverted_pairs,
    one_centre,
    right_pairs,
)
from sample_models.sample import Sample
from sample_models.scanning import scanned
from sample_models.working import Build, data, working

SOUND: frozenset[str] = frozenset()
BENIGN = frozenset({"common-offset"})  # an offset is there, and may be told


class Case(NamedTuple):
    """`right` are the causes that would be right; none where the thread found nothing wrong. `benign` may be told."""

    thread: str
    what: str
    right: frozenset[str]
    make: Callable[[int], Sample]
    benign: frozenset[str] = SOUND


def main() -> int:
    """Replay all of them."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose thread or description contains this")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| thread | what was done | right | verdict | named | s |\n|---|---|---|---|---|---|")
    wrong = count = 0
    for case in cases():
        if options.only not in f"{case.thread} {case.what}":
            continue
        begin = time.perf_counter()
        report = scanned(case.make(options.seed))
        named = [one for one in report.diagnoses if one.status in ("confirmed", "likely") and not one.expected]
        if case.right:
            good = bool(named) and named[0].cause in case.right
        else:
            good = all(one.cause in case.benign for one in named)
        count, wrong = count + 1, wrong + (not good)
        told = f"{named[0].status.value} {named[0].cause}" if named else "-"
        print(
            f"| {case.thread} | {case.what} | {' or '.join(sorted(case.right)) or 'nothing'} "
            f"| {report.verdict.status.value} | {told}{'' if good else ' **WRONG**'} "
            f"| {time.perf_counter() - begin:.1f} |",
            flush=True,
        )
    print(f"\n{count - wrong} of {count} right")
    return int(wrong > 0)


def cases() -> Iterator[Case]:
    """All of them, by what they are about."""
    yield from normalisation()
    yield from loading()
    yield from activations()
    yield from inputs()
    yield from training()
    yield from false_alarms()


def normalisation() -> Iterator[Case]:
    """Statistics that were never, or wrongly, updated."""
    stale = frozenset({"stale-batchnorm"})
    large = Training(classification, scale=255.0)

    def never(seed: int) -> Sample:
        state = checkpoint(architectures.normalised, seed, large)["model"]
        for name, tensor in state.items():
            if "running" in name:
                tensor.fill_(float("var" in name))
        return handed(architectures.normalised, state, data()[0] * 255)

    def lagging(seed: int) -> Sample:
        state = checkpoint(architectures.normalised, seed, Training(classification))["model"]
        state["4.running_var"].mul_(1e8)
        return handed(architectures.normalised, state)

    def one_window(seed: int) -> Sample:
        """The statistics are those of a stretch of the data that is unlike the rest: bright, and all alike."""
        net = working(architectures.normalised, seed).train()
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = 1.0
        with torch.no_grad():
            net(data()[0][:1].repeat(32, 1, 1, 1) * 40)
        return handed(architectures.normalised, net.eval().state_dict())

    yield Case("tensorflow#11965", "moving means at 0, variances at 1, pixels to 255", stale, never)
    yield Case("pytorch-image-models#245", "buffers of averaged weights far from the weights", stale, lagging)
    yield Case("pytorch#4741", "last batch one correlated window, momentum 1", stale, one_window)


def loading() -> Iterator[Case]:
    """Weights that did not find their way."""
    missing = frozenset({"weights-not-loaded"})
    fresh = frozenset({"untrained-weights", "weights-not-loaded", "depth-without-normalisation"})

    def renamed(build: Build, part: str) -> Callable[[int], Sample]:
        def make(seed: int) -> Sample:
            state = working(build, seed).state_dict()
            kept = {(f"old_{name}" if name.startswith(part) else name): value for name, value in state.items()}
            return handed(build, kept, allow_partial=True)

        return make

    def nothing_passed(seed: int) -> Sample:
        torch.manual_seed(seed)
        return handed(deep, deep().state_dict())

    yield Case(
        "fast-reid#686",
        "most keys under another name, strict=False",
        missing,
        renamed(architectures.residual, "blocks"),
    )
    yield Case(
        "kokoro#368", "one layer's keys of another kind of weight norm", missing, renamed(architectures.perceptron, "3")
    )
    yield Case("UniSpeech#47", "no checkpoint was passed: a deep net at random", fresh, nothing_passed)


def activations() -> Iterator[Case]:
    """Dead, constant and saturated layers."""

    def trapped(seed: int) -> Sample:
        net = working(ends_in_relu, seed)
        net.get_parameter("0.7.bias").data.sub_(100)
        return handed(ends_in_relu, net.state_dict())

    def all_negative(seed: int) -> Sample:
        net = working(architectures.plain, seed)
        net.get_parameter("2.bias").data.sub_(50)
        return handed(architectures.plain, net.state_dict())

    def filled(value: float) -> Callable[[int], Sample]:
        def make(seed: int) -> Sample:
            net = working(architectures.perceptron, seed)
            net.get_parameter("5.weight").data.fill_(value)
            net.get_parameter("5.bias").data.fill_(value)
            return handed(architectures.perceptron, net.state_dict())

        return make

    def far_inputs(seed: int) -> Sample:
        torch.manual_seed(seed)
        return handed(architectures.logistic, architectures.logistic().state_dict(), data()[0] * 1000 + 5000)

    def stacked(seed: int) -> Sample:
        net = working(architectures.perceptron, seed)
        for name, parameter in net.named_parameters():
            parameter.data.mul_(1e-6 if "weight" in name else 0.0)
        return handed(architectures.perceptron, net.state_dict())

    constant = frozenset({"constant-initialisation"})
    yield Case("graph_neural_net#9", "final ReLU trapped at 0", frozenset({"dead-relu"}), trapped)
    yield Case("Multi-task-TCGA#16", "hidden pre-activations all negative", frozenset({"dead-relu"}), all_negative)
    yield Case("LAVT-RIS#25", "a layer in the middle is zero", constant, filled(0.0))
    yield Case("Mnemosyne#1987", "one value for all weights of a layer", constant, filled(0.01))
    yield Case("stackoverflow 52800582", "sigmoids on inputs in the thousands",
               frozenset({"saturated-activation", "wrong-input-scale"}), far_inputs)  # fmt: skip
    yield Case("scalable-deeplearning#7", "codes of 1e-20: tiny weights", frozenset({"vanishing-signal"}), stacked)


def inputs() -> Iterator[Case]:
    """What the model was not trained on."""
    scale = frozenset({"wrong-input-scale"})
    repeated = frozenset({"repeated-inputs"})
    large = Training(classification, scale=255.0)

    def unscaled(seed: int) -> Sample:
        return handed(architectures.normalised, checkpoint(architectures.normalised, seed, large)["model"])

    def twice(seed: int) -> Sample:
        return handed(architectures.plain, working(architectures.plain, seed).state_dict(), data()[0] / 255)

    def same(count: int) -> Callable[[int], Sample]:
        def make(seed: int) -> Sample:
            pictures = data()[0]
            return handed(
                architectures.plain,
                working(architectures.plain, seed).state_dict(),
                pictures[torch.arange(400) % count],
            )

        return make

    yield Case("gluon-face#31", "trained on 0..255, fed 0..1", scale, unscaled)
    yield Case("facenet#743", "divided by 255 once too often", scale, twice)
    yield Case("yolox#154", "workers with one seed: four items again and again", repeated, same(4))
    yield Case("MAML#2", "an index that stays at one item", repeated, same(1))


def training() -> Iterator[Case]:
    """Objectives and settings."""
    drawn = frozenset({"loss-without-repulsion"})
    mined = frozenset({"hard-mining-collapse"})
    rate = frozenset({"learning-rate-too-high"})
    decay = frozenset({"excessive-weight-decay"})

    def by(build: Build, how: Training, *, whole: bool = False, **options: Any) -> Callable[[int], Sample]:
        def make(seed: int) -> Sample:
            state = checkpoint(build, seed, how)
            return handed(build, state if whole else state["model"], **options)

        return make

    def soft(seed: int) -> Sample:
        state = checkpoint(architectures.perceptron, seed, Training(hardest_triplets, rate=3e-2))
        return handed(architectures.perceptron, {**state, "loss": 0.6932, "hparams": {"criterion": "SoftTripletLoss"}})

    def nan(seed: int) -> Sample:
        net = working(architectures.perceptron, seed)
        net.get_parameter("3.weight").data[0, 0] = float("nan")
        return handed(architectures.perceptron, net.state_dict())

    perceptron, plain = architectures.perceptron, architectures.plain
    yield Case(
        "simsiam#40", "loss -1 at once: views attract, nothing else", drawn, by(perceptron, Training(attraction))
    )
    yield Case("byol#8", "positives only, convolutions", drawn, by(plain, Training(attraction)))
    yield Case("pyod#711", "Deep SVDD with biases", drawn, by(perceptron, Training(one_centre, steps=400)))
    yield Case("byol#44", "Adam at a LARS rate of 0.2, positives only", rate | drawn,
               by(architectures.normalised, Training(attraction, rate=0.2)))  # fmt: skip
    yield Case("triplet-loss#6", "batch-hard, loss at exactly the margin", mined,
               by(perceptron, Training(hardest_triplets, rate=3e-2), loss="triplet", margin=MARGIN))  # fmt: skip
    yield Case("triplet-reid#30", "soft margin, loss at 0.693", mined, soft)
    yield Case("metric-learning#504", "margins of distances on cosines", frozenset({"inverted-pair-labels"}),
               by(perceptron, Training(inverted_pairs), loss="ContrastiveLoss"))  # fmt: skip
    yield Case("lightfm#96", "L2 so strong that all is zero", decay,
               by(perceptron, Training(classification, rate=5e-3, weight_decay=1.0)))  # fmt: skip
    yield Case("transformers#735", "a rate hundreds of times too high", rate,
               by(architectures.transformer, Training(classification, rate=0.3), whole=True))  # fmt: skip
    yield Case("simpletransformers#234", "the same, without normalisation", rate,
               by(perceptron, Training(classification, rate=0.3)))  # fmt: skip
    yield Case("loghi#20", "NaN from one weight on", frozenset({"non-finite-weights"}), nan)


def false_alarms() -> Iterator[Case]:
    """Threads that ended with: this is no collapse."""
    offset = frozenset({"common-offset", "rogue-dimension"})

    def narrow_cone(seed: int) -> Sample:
        net = working(architectures.transformer, seed)
        direction = torch.randn(64, generator=torch.Generator().manual_seed(seed))
        net.get_parameter("head.bias").data.add_(200 * direction)
        return handed(architectures.transformer, net.state_dict())

    def softmax(seed: int) -> Sample:
        torch.manual_seed(seed)
        return handed(thousand_classes, thousand_classes().state_dict())

    def sound(build: Build, how: Training | None = None, n: int = 400) -> Callable[[int], Sample]:
        def make(seed: int) -> Sample:
            state = checkpoint(build, seed, how)["model"] if how else working(build, seed).state_dict()
            sample = handed(build, state)
            labels = sample.labels
            return handed(build, state, sample.inputs[:n], labels=labels[:n] if labels is not None else None)

        return make

    yield Case("transformers#2298", "all cosines near 1: a narrow cone", offset, narrow_cone)
    yield Case(
        "VMZ#31", "softmax of 1/1000 in every entry", frozenset({"wrong-embedding-layer", "untrained-weights"}), softmax
    )
    yield Case("PyRetri#4", "pooled features of one sign", SOUND, sound(pooled_relu), BENIGN)
    yield Case("Resemblyzer#15", "mostly zeros behind a final ReLU", SOUND, sound(ends_in_relu), BENIGN)
    yield Case("VGG-Speaker#20", "a final ReLU, convolutions", SOUND, sound(ends_in_relu_plain), BENIGN)
    yield Case("VectorQuantizedVAE#3", "too few items to see all codes", SOUND, sound(architectures.normalised, n=48))
    yield Case(
        "SupContrast#14", "a loss that looks high, and is not", SOUND, sound(plain_pairs, Training(right_pairs)), BENIGN
    )
    yield Case(
        "deep-speaker#50",
        "a weak model",
        SOUND,
        sound(architectures.perceptron, Training(classification, steps=25)),
        BENIGN,
    )
    yield Case(
        "gsplat, own tanh",
        "a slow but sound training",
        SOUND,
        sound(architectures.squashed, Training(classification, steps=60)),
        BENIGN,
    )


def handed(
    build: Build, state: dict[str, Any], pictures: Tensor | None = None, labels: Tensor | None = None, **options: Any
) -> Sample:
    """Digits that no training saw, or what is fed instead of them."""
    inputs, classes = data()
    return Sample(
        build=build, state=state, inputs=inputs if pictures is None else pictures,
        labels=classes if labels is None else labels, options=options,
    )  # fmt: skip


def deep() -> nn.Module:
    """Sixteen linear layers with ReLU, and nothing to normalise."""
    layers = [module for _ in range(16) for module in (nn.Linear(64, 64), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers[:-1])


def ends_in_relu() -> nn.Module:
    """Linear layers whose last output is rectified."""
    return nn.Sequential(architectures.perceptron(), nn.ReLU())


def ends_in_relu_plain() -> nn.Module:
    """Convolutions whose output is rectified."""
    return nn.Sequential(architectures.plain(), nn.ReLU())


def pooled_relu() -> nn.Module:
    """Averages of rectified channels."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


def plain_pairs() -> nn.Module:
    """Linear layers, trained on pairs."""
    return architectures.perceptron()


class Softmax(nn.Module):
    """Probabilities of many classes, from one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.last = nn.Linear(64, 64), nn.Linear(64, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 1, 8, 8]`` to ``[n, 1000]``."""
        return functional.softmax(self.last(functional.relu(self.hidden(x.flatten(1)))), dim=1)


def thousand_classes() -> nn.Module:
    """Softmax as the embedding."""
    return Softmax()


if __name__ == "__main__":
    sys.exit(main())
