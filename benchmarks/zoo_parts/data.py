"""Real data that comes with the installed packages: nothing is downloaded."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from sklearn import datasets
from torch import Tensor


class Data(NamedTuple):
    """Inputs ``[n, ...]`` float32 and what is true of them: classes ``[n]`` int64, or numbers ``[n]`` float32.

    The rows are shuffled; the first `held_out` of them are never trained on.
    """

    inputs: Tensor
    truth: Tensor
    held_out: int

    @property
    def training(self) -> Data:
        """The rows to train on."""
        return Data(self.inputs[self.held_out :], self.truth[self.held_out :], 0)

    @property
    def is_classes(self) -> bool:
        """Whether the truth is a class (else a number)."""
        return not self.truth.is_floating_point()

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.truth.max()) + 1

    def only(self, kept: tuple[int, ...]) -> Data:
        """The rows of some classes, numbered anew from 0."""
        rows = torch.isin(self.truth, torch.tensor(kept))
        return Data(
            self.inputs[rows],
            torch.searchsorted(torch.tensor(sorted(kept)), self.truth[rows]),
            int(rows[: self.held_out].sum()),
        )


@cache
def digits(seed: int) -> Data:
    """1797 handwritten digits ``[n, 1, 8, 8]`` in 0..1."""
    raw = datasets.load_digits()
    return _shuffled(raw.images[:, None] / 16, raw.target, seed, held_out=500)


@cache
def glyphs(seed: int) -> Data:
    """2600 renderings ``[n, 1, 32, 32]`` of 26 letters: sizes, slants, turns, weights, contrast, noise."""
    random = np.random.default_rng(seed)
    pictures = np.stack([_glyph(chr(ord("A") + letter), random) for letter in range(26) for _ in range(100)])
    return _shuffled(pictures[:, None], np.repeat(np.arange(26), 100), seed, held_out=800)


@cache
def patches(seed: int) -> Data:
    """2080 colour patches ``[n, 3, 16, 16]`` of two photographs; the truth is which photograph."""
    cut = [
        picture[: 16 * 26, : 16 * 40].reshape(26, 16, 40, 16, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, 16, 16)
        for picture in datasets.load_sample_images().images
    ]
    return _shuffled(np.concatenate(cut) / 255, np.repeat([0, 1], [len(c) for c in cut]), seed, held_out=600)


@cache
def table(name: str, seed: int) -> Data:
    """One of wine (3 classes), breast_cancer (2), iris (3), diabetes (a number), with standardised columns."""
    raw = getattr(datasets, f"load_{name}")()
    columns = (raw.data - raw.data.mean(axis=0)) / raw.data.std(axis=0)
    truth = raw.target
    if name == "diabetes":
        truth = ((truth - truth.mean()) / truth.std()).astype(np.float32)
    return _shuffled(columns, truth, seed, held_out=len(truth) // 3)


def load(name: str, seed: int) -> Data:
    """A data set by name; ``digits:013`` keeps three of its classes."""
    name, _, kept = name.partition(":")
    pictures = {"digits": digits, "glyphs": glyphs, "patches": patches}
    data = pictures[name](seed) if name in pictures else table(name, seed)
    return data.only(tuple(int(one) for one in kept)) if kept else data


def _shuffled(inputs: np.ndarray, truth: np.ndarray, seed: int, held_out: int) -> Data:
    order = np.random.default_rng(seed).permutation(len(truth))
    labels = truth[order] if truth.dtype == np.float32 else truth[order].astype(np.int64)
    return Data(torch.from_numpy(inputs[order].astype(np.float32)), torch.from_numpy(labels), held_out)


def _glyph(letter: str, random: np.random.Generator) -> np.ndarray:
    font = ImageFont.load_default(size=float(random.uniform(16, 26)))
    picture = Image.new("L", (32, 32), 0)
    draw = ImageDraw.Draw(picture)
    draw.text((16, 16), letter, fill=255, font=font, anchor="mm", stroke_width=int(random.integers(0, 2)))
    turn, shear = random.uniform(-0.25, 0.25), random.uniform(-0.2, 0.2)
    a, b = np.cos(turn), np.sin(turn) + shear
    c, d = -np.sin(turn), np.cos(turn)
    x, y = 16 + random.uniform(-2, 2), 16 + random.uniform(-2, 2)
    picture = picture.transform(
        (32, 32),
        Image.Transform.AFFINE,
        (a, b, x - a * 16 - b * 16, c, d, y - c * 16 - d * 16),
        Image.Resampling.BILINEAR,
    )
    ink = np.asarray(picture, dtype=np.float64) / 255
    low, high = random.uniform(0, 0.3), random.uniform(0.7, 1)
    return np.clip(low + (high - low) * ink + random.normal(0, 0.05, ink.shape), 0, 1)
