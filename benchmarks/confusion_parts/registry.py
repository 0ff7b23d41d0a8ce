"""Architectures made at run time, under names that `--model-def` can have."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

from torch import nn

# `untrained.NAME` is what was registered; names may have hyphens, but no dots.
untrained = SimpleNamespace()


def named(name: str, build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """The same function, to be found again as `benchmarks.confusion_parts.registry:untrained.NAME`."""
    name = name.replace(".", "_")

    def registered() -> nn.Module:
        return build()

    registered.__module__, registered.__qualname__ = __name__, f"untrained.{name}"
    setattr(untrained, name, registered)
    return registered
