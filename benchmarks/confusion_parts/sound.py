"""Sound models: all of the zoo's healthy ones, as whole models, and kinds that the zoo does not have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.confusion_parts.registry import named
from benchmarks.zoo_parts import healthy
from benchmarks.zoo_parts.data import Data, load
from benchmarks.zoo_parts.networks import Build, conv, mlp, recurrent, residual, transformer
from benchmarks.zoo_parts.objectives import Aim, Objective, cross_entropy, fit, supervised_contrastive, triplet
from benchmarks.zoo_parts.recipes import HEALTHY, Recipe, Whole, embed, score
from benchmarks.zoo_parts.recipes import Sample as Embedded
from sample_models.sample import Sample


class Sound(NamedTuple):
    """A sample, and whether the model came out well enough for it to be called sound."""

    sample: Sample
    intended: bool


def recipes() -> Iterator[Recipe]:
    """The zoo's first."""
    for recipe in (*healthy.recipes(), *dropping(), *uneven(), *library()):
        yield recipe._replace(name=recipe.name.partition("/")[2])


def sound(recipe: Recipe, seed: int, cache: Path | None) -> Sound:
    """Train, or take from the cache."""
    assert recipe.whole is not None and recipe.build is not None
    file = cache / "sound" / f"{recipe.name}-{seed}.pt" if cache else None
    if file is not None and file.exists():
        kept: dict[str, Any] = torch.load(file)
    else:
        torch.use_deterministic_algorithms(True)
        made = recipe.whole(seed)
        kept = {
            "state": made.encoder.state_dict(),
            "inputs": made.inputs.clone(),
            "labels": None if made.labels is None else made.labels.clone(),
            "score": made.score,
        }
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.save(kept, file)
    shape, make = tuple(kept["inputs"].shape[1:]), recipe.build

    build = named(recipe.name, lambda: make(shape))
    sample = Sample(build=build, state=kept["state"], inputs=kept["inputs"], labels=kept["labels"])
    return Sound(sample, kept["score"] is None or recipe.kept(kept["score"]))


class Dropping(nn.Module):
    """An encoder behind dropout, which is off when it is scanned."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.2)
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        """``[n, ...]`` to ``[n, d]``."""
        rows: Tensor = self.encoder(self.drop(x))
        return rows


def dropping() -> Iterator[Recipe]:
    """Regularised in usual ways: dropout, moderate weight decay."""
    for name, build in (("conv", conv()), ("mlp", mlp(3))):
        yield healthy.raised(f"dropout-{name}", "digits", _behind_dropout(build), 64, steps=250)
    yield healthy.raised("weight-decay", "digits", conv(norm="batch"), 64, weight_decay=1e-3, steps=250)
    yield healthy.raised("weight-decay-plain", "digits", mlp(3), 64, weight_decay=1e-4, steps=250)


def uneven() -> Iterator[Recipe]:
    """Trained and scanned where one class has most of the items, with labels and without."""
    for name, build, aim, labels in (
        ("conv", conv(norm="batch"), cross_entropy, True),
        ("conv-plain", conv(), cross_entropy, False),
        ("mlp", mlp(2), cross_entropy, True),
        ("transformer", transformer(), cross_entropy, True),
        ("supervised-contrastive", conv(norm="batch"), supervised_contrastive, False),
        ("triplet", residual(), triplet, True),
        ("recurrent", recurrent(), cross_entropy, False),
    ):
        yield _of(f"uneven-{name}", _uneven_digits, build, 64, aim, labels=labels, steps=250)


def library() -> Iterator[Recipe]:
    """Architectures of torchvision, trained from nothing on letters; their last layer classifies."""
    from torchvision import models

    for name, d in (("resnet18", 26), ("squeezenet1_1", 26), ("shufflenet_v2_x0_5", 26), ("mobilenet_v3_small", 26)):

        def build(_shape: tuple[int, ...], d: int, name: str = name) -> nn.Module:
            made: nn.Module = models.get_model(name, weights=None, num_classes=d)
            return made

        yield _of(f"torchvision-{name}", _coloured_letters, build, d, _as_classes, labels=True, steps=150)


def _of(
    name: str,
    source: Callable[[int], Data],
    build: Build,
    d: int,
    aim: Aim,
    *,
    labels: bool,
    steps: int,
    n: int = 360,
) -> Recipe:
    """As `healthy.raised`, on data that the zoo does not have."""

    def whole(seed: int) -> Whole:
        known = source(seed)
        torch.manual_seed(seed)
        encoder = build(tuple(known.inputs.shape[1:]), d)
        fit(encoder, aim(encoder, known, d), known.training, steps=steps, batch=64)
        good = score(embed(encoder, known.inputs[:600]), known.truth[:600])
        return Whole(encoder, known.inputs[:n], known.truth[:n] if labels else None, good)

    def make(seed: int) -> Embedded:
        made = whole(seed)
        return Embedded(embed(made.encoder, made.inputs), made.inputs, made.labels, made.score)

    def kept(value: float) -> bool:
        return value >= healthy.GOOD

    return Recipe(f"sound/{name}", HEALTHY, None, make, kept, whole, lambda shape: build(shape, d))


def _behind_dropout(build: Build) -> Build:
    return lambda shape, d: Dropping(build(shape, d))


def _uneven_digits(seed: int) -> Data:
    """All digits 1, and every eighth of the others."""
    known = load("digits", seed)
    kept = (known.truth == 1) | (torch.arange(len(known.truth)) % 8 == 0)
    return Data(known.inputs[kept], known.truth[kept], int(kept[: known.held_out].sum()))


def _coloured_letters(seed: int) -> Data:
    """Letters in three equal channels."""
    known = load("glyphs", seed)
    return Data(known.inputs.expand(-1, 3, -1, -1), known.truth, known.held_out)


def _as_classes(encoder: nn.Module, _data: Data, _d: int) -> Objective:
    """The encoder's own output are the scores."""
    return Objective(lambda x, y: nn.functional.cross_entropy(encoder(x), y))
