"""Building modules whose weights are about to be replaced: quick, and in memory that is never touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules import activation, transformer

# Where the functions are called from: attention and transformers have imported them under their own names.
_PLACES = (nn.init, activation, transformer)


@contextmanager
def uninitialised() -> Iterator[None]:
    """Let the functions of `torch.nn.init` do nothing for a while.

    Layers then keep the memory that the system gave them, whatever it holds: only for modules of which every
    weight is replaced, or only shapes are asked for. Not for use from several threads.
    """
    names = [name for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")]
    kept = [(place, name, vars(place)[name]) for place in _PLACES for name in names if name in vars(place)]
    for place, name, _ in kept:
        setattr(place, name, _untouched)
    try:
        yield
    finally:
        for place, name, function in kept:
            setattr(place, name, function)


def _untouched(*args: Any, **kwargs: Any) -> torch.Tensor:
    tensor: torch.Tensor = args[0] if args else kwargs["tensor"]
    return tensor
