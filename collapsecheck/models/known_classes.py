"""Classes and functions of torch and torchvision that a pickled module may consist of, listed one by one.

The lists come from walking the installed packages. What a file names is only ever looked up in them: it is never
imported, and being part of torch is not enough to be in them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.lazy import LazyModuleMixin

_PACKAGES = ("torch.nn.modules", "torchvision.models", "torchvision.ops")
# The rest of what torchvision's models are made of: those that can be quantised carry places for it.
_SINGLE = (
    "torch.ao.nn.quantized.modules.functional_modules.FloatFunctional",
    "torch.ao.quantization.stubs.QuantStub",
    "torch.ao.quantization.stubs.DeQuantStub",
)
# These compile code that is saved with them, or cannot run before they have seen data.
_EXCLUDED = (fx.GraphModule, torch.jit.ScriptModule, LazyModuleMixin)
_EXCLUDED_MODULES = ("torchvision.models.feature_extraction", "torchvision.models._api")

# Detectors keep these objects, which are no modules, beside their layers.
_OBJECTS = (
    "torchvision.models.detection._utils.BalancedPositiveNegativeSampler",
    "torchvision.models.detection._utils.BoxCoder",
    "torchvision.models.detection._utils.BoxLinearCoder",
    "torchvision.models.detection._utils.Matcher",
    "torchvision.models.detection._utils.SSDMatcher",
)
_ACTIVATIONS = (
    "celu", "elu", "gelu", "glu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_softmax", "logsigmoid",
    "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softmin", "softplus", "softshrink", "softsign",
    "tanh", "tanhshrink",
)  # fmt: skip
_TENSOR_FUNCTIONS = ("flatten", "relu", "selu", "sigmoid", "softmax", "tanh", "abs", "exp", "sin", "cos", "square")
_OTHER_FUNCTIONS = (
    "torch.nn.functional.cosine_similarity",
    "torch.nn.functional.normalize",
    "torch.nn.functional.pairwise_distance",
    "torchvision.ops.boxes.box_iou",
    "torchvision.models.optical_flow.raft._pass_through_h",
)
_BUILTIN = "torch._C._nn"  # where those of torch.nn.functional say they come from that are not written in Python


@lru_cache(maxsize=1)
def known_modules() -> Mapping[str, type[nn.Module]]:
    """Subclasses of `nn.Module`, by every dotted path under which torch and torchvision themselves have them."""
    found: dict[str, type[nn.Module]] = {}
    for module in _walked():
        for name, value in vars(module).items():
            if _is_known(value):
                found[f"{module.__name__}.{name}"] = value
    for path in _SINGLE:
        value = _resolved(path)
        if isinstance(value, type) and issubclass(value, nn.Module):
            found[path] = value
    return found


@lru_cache(maxsize=1)
def known_functions() -> Mapping[str, Callable[..., Any]]:
    """Functions of tensors alone, without any other effect, by the paths under which they are pickled."""
    found: dict[str, Callable[..., Any]] = {}
    for name in _ACTIVATIONS:
        function = getattr(nn.functional, name, None)
        if callable(function):
            found[f"torch.nn.functional.{name}"] = found[f"{_BUILTIN}.{name}"] = function
    for name in _TENSOR_FUNCTIONS:
        found[f"torch._C._VariableFunctionsClass.{name}"] = found[f"torch.{name}"] = getattr(torch, name)
    for path in _OTHER_FUNCTIONS:
        function = _resolved(path)
        if callable(function):
            found[path] = function
    return found


@lru_cache(maxsize=1)
def known_objects() -> Mapping[str, type[Any]]:
    """Small classes of torchvision that are no modules, hold plain values only, and are called by its modules."""
    found = ((path, _resolved(path)) for path in _OBJECTS)
    return {path: value for path, value in found if isinstance(value, type)}


@lru_cache(maxsize=1)
def known_types() -> Mapping[str, torch.dtype]:
    """Types of numbers, by path."""
    return {f"torch.{name}": value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}


def _walked() -> Iterator[ModuleType]:
    for name in _PACKAGES:
        package = importlib.import_module(name)
        yield package
        for info in pkgutil.walk_packages(package.__path__, f"{name}."):
            if info.name not in _EXCLUDED_MODULES and not info.name.rpartition(".")[2].startswith("__"):
                try:
                    yield importlib.import_module(info.name)
                except ImportError:  # a part of torchvision that needs what is not installed
                    continue


def _is_known(value: Any) -> bool:
    return (
        isinstance(value, type)
        and issubclass(value, nn.Module)
        and not issubclass(value, _EXCLUDED)
        and value.__module__.startswith(_PACKAGES)
        and value.__module__ not in _EXCLUDED_MODULES
    )


def _resolved(path: str) -> Any:
    """Return what one of the paths written above leads to, None where this release has no such thing."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
