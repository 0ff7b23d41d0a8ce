"""What the broken and repaired models have in common: a working model, digits, and a place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from sample_models.sample import Sample
from sample_models.working import data

Build = Callable[[], nn.Module]


def handed(
    build: Build,
    encoder: nn.Module,
    layer: str = "",
    *,
    also: Collection[str] = (),
    inputs: Tensor | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
    **options: Any,
) -> Sample:
    """The model with the digits as a sample.

    Parameters
    ----------
    layer, also, settings, options : as in `Sample`.
    inputs : what the model is fed instead of the digits.
    """
    pictures, labels = data()
    return Sample(
        build=build,
        state=encoder.state_dict(),
        inputs=pictures if inputs is None else inputs,
        labels=labels,
        layer=layer,
        also=frozenset(also),
        options=options,
        settings=settings,
    )


def random(seed: int, *shape: int) -> Tensor:
    """Gaussian numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
