"""The weights that take part in a step, whatever holds them: layers, attention, recurrent cells, own parameters."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from collapsecheck.observe.layers import Layer

_TRANSPOSED = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
# Functions that multiply by a matrix, and those whose matrix has its units along the last axis.
_LAST_AXIS = frozenset(("matmul", "bmm", "addmm", "einsum"))
_PRODUCTS = _LAST_AXIS | frozenset(("linear", "bilinear", "conv1d", "conv2d", "conv3d"))
_WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd, nn.Bilinear, nn.Embedding, nn.MultiheadAttention, nn.RNNBase)


# Deviation between the rows of a weight over its size: independent rows have 1, rows that training moved apart 0.1,
# those of a layer that began constant 1e-4 to 2e-3 after a few steps.
ALIKE = 5e-3


@dataclass(frozen=True, kw_only=True)
class Weight:
    """One matrix of weights in one step.

    Parameters
    ----------
    name : dotted name of the tensor, as `head.weight`.
    layer : the step.
    tensor : the whole tensor, detached.
    axis : which axis counts the units.
    part : first row, and the one after the last, on the first axis, where a tensor holds several matrices (query, key
        and value of attention).
    title : what of the tensor it is, in words, where it is not all of it.
    mixes : whether every unit sees every input; not in grouped convolutions.
    scaled : whether each unit has a factor of its own besides, as with weight_norm.
    """

    name: str
    layer: Layer
    tensor: Tensor
    axis: int = 0
    part: tuple[int, int | None] = (0, None)
    title: str = ""
    mixes: bool = True
    scaled: bool = False

    def __str__(self) -> str:
        return f"{self.title} of {self.name}" if self.title else self.name

    @cached_property
    def rows(self) -> Tensor:
        """One row per unit [units, fan-in], in double precision."""
        return self.tensor[slice(*self.part)].double().movedim(self.axis, 0).flatten(1)

    @cached_property
    def size(self) -> float:
        """Root mean square times √fan-in: 0.58 as torch initialises, 1.4 after He; trained ones 0.2 to 3."""
        rows = self.rows
        return float(rows.square().mean().sqrt()) * math.sqrt(rows.shape[1]) if rows.numel() else math.nan

    @cached_property
    def alike(self) -> bool:
        """Whether all units have the same weights, or none, although they see the same inputs."""
        rows = nn.functional.normalize(self.rows) if self.scaled else self.rows
        size = rows.square().mean().sqrt()
        apart = (rows - rows.mean(0)).square().mean().sqrt()
        return len(rows) > 1 and self.mixes and bool(torch.isfinite(size)) and bool(apart <= ALIKE * size)

    def replaced(self, rows: Tensor) -> dict[str, Tensor]:
        """The whole tensor, by name, with other rows in their place."""
        shape = self.tensor[slice(*self.part)].movedim(self.axis, 0).shape
        new = self.tensor.clone()
        new[slice(*self.part)] = rows.reshape(shape).movedim(0, self.axis).to(new)
        return {self.name: new}

    def usual(self) -> dict[str, Tensor]:
        """The whole tensor, by name, with these rows scaled to the size that torch gives them at initialisation."""
        return self.replaced(self.rows / (math.sqrt(3) * self.size)) if self.size > 0 else {}

    def renewed(self, seed: int = 0) -> dict[str, Tensor]:
        """The whole tensor with rows drawn anew, of usual size: as large as they were, or as torch initialises."""
        generator = torch.Generator().manual_seed(seed)
        fresh = torch.randn(self.rows.shape, generator=generator, dtype=torch.float64)
        size = self.size if 0.1 < self.size < 10 else 1 / math.sqrt(3)
        return self.replaced(fresh.to(self.rows.device) * size / math.sqrt(self.rows.shape[1]))


def weights_of(layer: Layer, model: nn.Module) -> Iterator[Weight]:
    """The matrices that take part in a step; empty for steps without."""
    if layer.site.function:
        if layer.site.function in _PRODUCTS:
            for name in layer.parameters:
                tensor = model.get_parameter(name).detach()
                if tensor.ndim > 1:
                    yield Weight(name=name, layer=layer, tensor=tensor, axis=_axis(layer.site.function, tensor))
        return
    module = model.get_submodule(layer.site.layer)
    if not isinstance(module, _WEIGHTED):
        return
    place = f"{layer.site.layer}." if layer.site.layer else ""
    names = [name for name, tensor in module._parameters.items() if tensor is not None and tensor.ndim > 1]
    if "weight" not in names and isinstance(getattr(module, "weight", None), Tensor):
        names = ["weight"]  # worked out from others: weight_norm, spectral_norm, pruning
    for name in names:
        tensor = getattr(module, name).detach()
        if name == "in_proj_weight":
            width = len(tensor) // 3
            for number, title in enumerate(("query part", "key part", "value part")):
                part = number * width, (number + 1) * width
                yield Weight(name=place + name, layer=layer, tensor=tensor, part=part, title=title)
        else:
            axis = int(isinstance(module, _TRANSPOSED) and module.groups == 1)
            mixes = getattr(module, "groups", 1) == 1
            yield Weight(name=place + name, layer=layer, tensor=tensor, axis=axis, mixes=mixes, scaled=computed(module))
    if isinstance(module, nn.MultiheadAttention):  # used by a function of torch, and not run as a layer
        yield Weight(name=f"{place}out_proj.weight", layer=layer, tensor=module.out_proj.weight.detach())


def biases_of(layer: Layer, model: nn.Module) -> list[str]:
    """Names of what is added in a step to every item alike."""
    if layer.site.function:
        adds = layer.site.function in _PRODUCTS | {"add"}
        return [name for name in layer.parameters if adds and model.get_parameter(name).ndim == 1]
    module = model.get_submodule(layer.site.layer)
    place = f"{layer.site.layer}." if layer.site.layer else ""
    found = [place + "bias"] if isinstance(module._parameters.get("bias"), Tensor) else []
    if isinstance(module, nn.MultiheadAttention) and module.out_proj.bias is not None:
        found.append(f"{place}out_proj.bias")
    return found


def plain(module: nn.Module) -> nn.Module:
    """A copy of a layer whose weights are parameters of its own: weight_norm, spectral_norm, pruning are worked out.

    The layer's class is left alone: copies of a parametrised layer share it, so that to take the parametrisation off
    one of them, as torch does that, would break the others.
    """
    kind = parametrize.type_before_parametrizations(module)
    new: nn.Module = kind.__new__(kind)  # type: ignore[call-overload]  # torch does not say that it is a Module's
    new.__dict__ = dict(module.__dict__)
    for held in ("_parameters", "_buffers", "_modules"):
        new.__dict__[held] = dict(module.__dict__[held])
    names = list(module.parametrizations) if parametrize.is_parametrized(module) else []  # type: ignore[arg-type]
    new._modules.pop("parametrizations", None)
    if isinstance(new.__dict__.pop("weight", None), Tensor):  # worked out by a hook before each pass
        new._forward_pre_hooks = OrderedDict()
        names.append("weight")
    for name in names:
        new._parameters[name] = nn.Parameter(getattr(module, name).detach(), requires_grad=False)
    return new


def computed(module: nn.Module) -> bool:
    """Whether the weight of a layer is worked out from other tensors."""
    return parametrize.is_parametrized(module) or isinstance(module.__dict__.get("weight"), Tensor)


def _axis(function: str, tensor: Tensor) -> int:
    return tensor.ndim - 1 if function in _LAST_AXIS else 0
