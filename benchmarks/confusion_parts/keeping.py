"""Samples on disk, by name and seed: training them takes most of the time."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from sample_models.sample import Sample


def kept(folder: Path | None, name: str, made_by: tuple[ModuleType, ...], make: Callable[[], Sample]) -> Sample:
    """The sample, from the folder where it is there.

    Parameters
    ----------
    name : what tells it from all others, its seed included.
    made_by : modules with the code that makes it: other code makes another sample.
    """
    if folder is None:
        return make()
    code = sha256("".join(map(inspect.getsource, made_by)).encode()).hexdigest()[:12]
    path = folder / f"{name}-{code}.pt"
    if path.exists():
        held: dict[str, Any] = torch.load(path, weights_only=False)
        return Sample(**{**held, "build": _named(held["build"])})
    sample = make()
    folder.mkdir(parents=True, exist_ok=True)
    fields = ("state", "inputs", "labels", "layer", "also", "options")
    torch.save({**{field: getattr(sample, field) for field in fields}, "build": sample.model_def}, path)
    return sample


def _named(model_def: str) -> Any:
    module, _, name = model_def.partition(":")
    return getattr(importlib.import_module(module), name)
