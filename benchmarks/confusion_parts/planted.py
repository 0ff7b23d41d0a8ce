"""Broken and repaired models: every file of sample_models that is named after a cause."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sample_models.sample import Sample

FOLDER = Path(__file__).resolve().parents[2] / "sample_models"


class Planted(NamedTuple):
    """One fault in one architecture and seed; `make` is costly, as it trains the model."""

    cause: str
    model: str
    seed: int
    is_broken: bool
    make: Callable[[], Sample]


def planted(causes: list[str], seeds: list[int]) -> Iterator[Planted]:
    """Broken and repaired models of every cause that has a file, the broken one first."""
    for cause in causes:
        name = cause.replace("-", "_")
        if not (FOLDER / f"{name}.py").exists():
            continue
        module = importlib.import_module(f"sample_models.{name}")
        for build in module.ARCHITECTURES:
            for seed in seeds:
                for is_broken in (True, False):
                    make = partial(module.broken if is_broken else module.repaired, build, seed)
                    yield Planted(cause, build.__name__, seed, is_broken, make)


def without_samples(causes: list[str]) -> list[str]:
    """Causes that have no file yet."""
    return [cause for cause in causes if not (FOLDER / f"{cause.replace('-', '_')}.py").exists()]
