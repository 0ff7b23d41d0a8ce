"""From which distributions layers draw their first weights: those of torch, torchvision, timm and transformers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

CONVOLUTIONS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip
NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_SCALES = (0.02, 0.01, 0.1)  # of normal distributions that do not depend on the layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Initialiser:
    """A distribution around 0: uniform in ±scale, or normal with that deviation. `name` is how reports call it."""

    name: str
    kind: Literal["uniform", "normal"]
    scale: float

    @property
    def second_moment(self) -> float:
        """E[w²]."""
        return self.scale**2 / 3 if self.kind == "uniform" else self.scale**2

    @property
    def fourth_moment(self) -> float:
        """E[w⁴]."""
        return self.scale**4 / 5 if self.kind == "uniform" else 3 * self.scale**4

    def cumulative(self, values: torch.Tensor) -> torch.Tensor:
        """P(w <= value), in float64."""
        if self.kind == "uniform":
            return (values / (2 * self.scale) + 0.5).clamp(0, 1)
        below: torch.Tensor = 0.5 * torch.special.erfc(-values / (self.scale * math.sqrt(2)))
        return below


def initialisers(module: nn.Module, name: str, weight: torch.Tensor) -> Iterator[Initialiser]:
    """Yield what could have drawn a parameter of a layer, the layer's own default first; nothing if none is known.

    Parameters
    ----------
    module
        The layer.
    name
        Name of the parameter in it.
    weight
        Its value, of which only the shape matters.

    Notes
    -----
    Uniform in ±1/√fan_in is what torch's `Linear` and convolutions do (`kaiming_uniform_(a=√5)`). Kaiming: He et
    al. 2015. Xavier: Glorot and Bengio 2010. Truncated normal distributions are cut so far out that they are normal.
    """
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        yield Initialiser(
            name=f"{type(module).__name__}, uniform in ±1/√hidden", kind="uniform", scale=module.hidden_size**-0.5
        )
    elif isinstance(module, (nn.Linear, *CONVOLUTIONS)):
        of = "Linear" if isinstance(module, nn.Linear) else "Conv"
        fan_in, _ = _fans(module.weight)
        yield Initialiser(name=f"default of {of}, uniform in ±1/√fan_in", kind="uniform", scale=fan_in**-0.5)
        if name == "weight":
            yield from _matrices(weight)
        else:
            yield Initialiser(name="normal, 1e-6", kind="normal", scale=1e-6)
    elif isinstance(module, nn.MultiheadAttention) and weight.dim() == 2:
        fan_in, fan_out = _fans(weight)
        yield Initialiser(
            name="default of MultiheadAttention, Xavier uniform",
            kind="uniform",
            scale=math.sqrt(6 / (fan_in + fan_out)),
        )
    elif isinstance(module, nn.Embedding | nn.EmbeddingBag):
        yield Initialiser(name="default of Embedding, normal, 1", kind="normal", scale=1.0)
        yield from (Initialiser(name=f"normal, {scale}", kind="normal", scale=scale) for scale in _SCALES)
        yield Initialiser(name="normal, 1/√dimension", kind="normal", scale=weight.shape[-1] ** -0.5)


def constants(module: nn.Module, name: str) -> tuple[float, ...]:
    """Return what a parameter or buffer is filled with when the layer is made; empty if it is drawn."""
    if isinstance(module, NORMALISATIONS):
        return {"weight": (1.0, 0.0), "bias": (0.0,), "running_mean": (0.0,), "running_var": (1.0,)}.get(name, ())
    if "bias" in name:
        return (0.0,)
    if isinstance(module, nn.PReLU):
        return (0.25,)
    return (0.0,) if isinstance(module, nn.Linear) else ()  # heads that begin at zero


def _matrices(weight: torch.Tensor) -> Iterator[Initialiser]:
    """Yield what libraries put in place of torch's default."""
    fan_in, fan_out = _fans(weight)
    yield Initialiser(name="Kaiming normal, fan_out", kind="normal", scale=math.sqrt(2 / fan_out))
    yield Initialiser(name="Kaiming normal, fan_in", kind="normal", scale=math.sqrt(2 / fan_in))
    yield Initialiser(name="LeCun normal", kind="normal", scale=math.sqrt(1 / fan_in))
    yield Initialiser(name="Xavier normal", kind="normal", scale=math.sqrt(2 / (fan_in + fan_out)))
    yield Initialiser(name="Xavier uniform", kind="uniform", scale=math.sqrt(6 / (fan_in + fan_out)))
    yield Initialiser(name="Kaiming uniform, fan_in", kind="uniform", scale=math.sqrt(6 / fan_in))
    yield Initialiser(name="Kaiming uniform, fan_out, gain 1", kind="uniform", scale=math.sqrt(3 / fan_out))
    yield Initialiser(name="uniform in ±1/√fan_out", kind="uniform", scale=fan_out**-0.5)
    yield from (Initialiser(name=f"normal, {scale}", kind="normal", scale=scale) for scale in _SCALES)


def _fans(weight: torch.Tensor) -> tuple[int, int]:
    """Inputs of one output and outputs of one input, as torch.nn.init counts them."""
    field = math.prod(weight.shape[2:])
    return max(weight.shape[1] * field, 1), max(weight.shape[0] * field, 1)
