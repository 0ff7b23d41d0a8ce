"""Building modules whose weights are about to be replaced: quick, and in memory that is never touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules import activation


@contextmanager
def uninitialised() -> Iterator[None]:
    """Let the functions of `torch.nn.init` do nothing for a while.

    Layers then keep the memory that the system gave them, whatever it holds: only for modules of which every
    weight is replaced, or only shapes are asked for. Not for use from several threads.
    """
    names = [name for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")]
    # The attention layers of torch have names of their own for some of them.
    kept = [
        (module, name, getattr(module, name)) for module in (nn.init, activation) for name in names
        if hasattr(module, name)
    ]  # fmt: skip
    for module, name, _ in kept:
        setattr(module, name, _untouched)
    try:
        yield
    finally:
        for module, name, function in kept:
            setattr(module, name, function)


def _untouched(*args: Any, **kwargs: Any) -> torch.Tensor:
    tensor: torch.Tensor = args[0] if args else kwargs["tensor"]
    return tensor
