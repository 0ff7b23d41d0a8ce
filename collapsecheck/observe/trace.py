"""What a model computes on its way, in the order in which it computes it: outputs of modules and of functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from collapsecheck.errors import NotMeasuredError
from collapsecheck.models.reduction import select

# Functions whose results are looked at when a forward calls them itself, as `F.relu(x)` or `x + y`. Others reshape,
# or are parts of these. In-place ones have an underscore at the end, operators are called by their methods' names.
FUNCTIONS = frozenset((
    "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "hardswish",
    "hardsigmoid", "hardtanh", "sigmoid", "tanh", "softmax", "log_softmax", "softsign", "threshold", "glu",
    "logsigmoid", "clamp",
    "linear", "conv1d", "conv2d", "conv3d", "bilinear", "matmul", "bmm", "addmm", "einsum",
    "scaled_dot_product_attention", "multi_head_attention_forward",
    "batch_norm", "layer_norm", "group_norm", "instance_norm", "normalize", "rms_norm",
    "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d",
    "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "interpolate", "mean",
    "add", "sub", "mul", "div", "cat",
    "__add__", "__radd__", "__iadd__", "__sub__", "__mul__", "__rmul__", "__imul__", "__truediv__", "__matmul__",
))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A place in the forward pass.

    `layer` is the `named_modules()` key of a module ("" is the model itself); `type` its class. Where the module's own
    forward calls a function, `function` names that, as in `relu`. `call` counts what comes again, from 0.
    """

    layer: str
    type: str
    function: str = ""
    call: int = 0

    def __str__(self) -> str:
        place = f"{self.function} in {self.layer or 'the model'}" if self.function else self.layer or "output"
        return f"{place} (call {self.call + 1})" if self.call else place


class Listener(Protocol):
    """Who wants to know. It must not keep the tensors: the next layer may overwrite them."""

    def before(self, tensor: Tensor, /) -> Any:
        """Hear what goes into a step, before it runs; what is returned comes back with the result."""

    def after(self, site: Site, tensor: Tensor, before: Any, /) -> None:
        """Hear what came out; `before` is None for containers and for steps without an input of their own."""


class Trace:
    """Tells a listener each output while a model runs.

    Calls within modules of torch.nn are theirs; calls in other modules are heard by name (`FUNCTIONS`). What
    neither is a module nor one of these functions is invisible: the next module's input shows its effect.

    Attributes
    ----------
    parameters
        Names of the parameters that a function was called with, as `weight` in `F.linear(x, self.weight)`.
    """

    def __init__(self, model: nn.Module, listener: Listener) -> None:
        self.model = model
        self.listener = listener
        self._inside: list[tuple[str, nn.Module, Any, int]] = []
        self._told = 0
        self._calls: Counter[tuple[str, str]] = Counter()
        self._last: Tensor | None = None
        self._talking = False
        self._held: dict[int, str] = {}
        self.parameters: dict[Site, tuple[str, ...]] = {}

    @contextmanager
    def attached(self) -> Iterator[Trace]:
        """Listen to one or several forward passes; calls are counted from 0 in each."""
        handles = []
        held = {_storage(tensor): name for name, tensor in self.model.named_parameters()}
        self._held = {place: name for place, name in held.items() if place}
        for name, module in self.model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # takes hooks of its own kind only
            if "parametrizations" in name.split("."):
                continue  # these compute weights, and not what becomes of an item
            handles.append(module.register_forward_pre_hook(self._enter(name), with_kwargs=True))
            handles.append(module.register_forward_hook(self._leave(name), with_kwargs=True, always_call=True))
        try:
            with _Functions(self):
                yield self
        finally:
            for handle in handles:
                handle.remove()
            self._inside.clear()
            self._last = None

    def _enter(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not self._inside:
                self._calls.clear()
                self._last = None
            heard = self._hear((*args, *kwargs.values())) if _is_step(module) else None
            self._inside.append((name, module, heard, self._told))

        return hook

    def _leave(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, _: tuple[Any, ...], __: dict[str, Any], output: Any) -> None:
            heard, told = None, 0
            while self._inside:
                inner, left, heard, told = self._inside.pop()
                if (inner, left) == (name, module):  # what failed within did not leave by itself
                    break
            self._tell(Site(layer=name, type=type(module).__name__), output, heard, within=self._told > told)

        return hook

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run a function that the model, or whoever else, calls; listen if it is one of the model's own steps."""
        name = getattr(function, "__name__", "")
        known = name in FUNCTIONS or name.rstrip("_") in FUNCTIONS
        if self._talking or not known or not self._inside:
            return function(*args, **kwargs)
        layer, module, _, _ = self._inside[-1]
        if parametrize.type_before_parametrizations(module).__module__.startswith("torch.nn.modules."):
            return function(*args, **kwargs)
        heard = self._hear((*args, *kwargs.values()))
        result = function(*args, **kwargs)
        kind = name.strip("_") if name.startswith("__") else name.rstrip("_")
        used = [self._held.get(_storage(one), "") for one in (*args, *kwargs.values()) if isinstance(one, Tensor)]
        site = Site(layer=layer, type=type(module).__name__, function=_OPERATORS.get(kind, kind))
        self._tell(site, result, heard, parameters=tuple(filter(None, used)))
        return result

    def _hear(self, values: tuple[Any, ...]) -> Any:
        first = next((value for value in values if isinstance(value, Tensor)), None)
        if first is None:
            return None
        self._talking = True
        try:
            return self.listener.before(first)
        finally:
            self._talking = False

    def _tell(
        self, site: Site, output: Any, heard: Any, *, within: bool = False, parameters: tuple[str, ...] = ()
    ) -> None:
        if output is None:
            return
        try:
            after, _ = select(output)
        except NotMeasuredError:
            return
        if after is self._last and within:  # a container returns what its last part returned
            return
        self._last = after
        self._told += 1
        place = site.layer, site.function
        call = self._calls[place]
        self._calls[place] += 1
        if call:
            site = replace(site, call=call)
        if parameters:
            self.parameters[site] = parameters
        self._talking = True
        try:
            self.listener.after(site, after, heard)
        finally:
            self._talking = False


def _is_step(module: nn.Module) -> bool:
    """Whether a module computes by itself, and is no container: its parts at most hold weights for it."""
    parts = {name for name, _ in module.named_children()} - {"parametrizations"}
    return not parts or isinstance(module, nn.MultiheadAttention)


def _storage(tensor: Tensor) -> int:
    """Where a tensor's numbers lie: a transposed view of a parameter is still that parameter; 0 if that is unknown."""
    return tensor.untyped_storage().data_ptr() if tensor.layout == torch.strided and not tensor.is_nested else 0


_OPERATORS = {"iadd": "add", "radd": "add", "imul": "mul", "rmul": "mul"}


class _Functions(TorchFunctionMode):
    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        return self._trace.call(func, args, kwargs or {})
