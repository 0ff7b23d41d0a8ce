"""A few items run through a copy of the model, and what its own operations are given on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from collapsecheck.datasets.inputs import each, nbytes
from collapsecheck.models.readout import out_of_memory
from collapsecheck.observe import NotObservable
from collapsecheck.observe.differentiable import Differentiable, differentiable_copy
from collapsecheck.observe.gradcheck import GradientCheck, unchecked
from collapsecheck.observe.gradcheck.call import Call
from collapsecheck.observe.gradcheck.layers import call_of_layer
from collapsecheck.observe.gradcheck.listening import Listener, apply_of, name_of
from collapsecheck.observe.gradcheck.random_state import begin_at
from collapsecheck.observe.probe import Probe
from collapsecheck.user_code import in_one_line

ITEMS = 8  # enough that an operation across the batch shows, few enough for double precision
LARGE, FEW = 2**19, 2  # an item of more bytes than this, and how many of such
MOST_CALLS = 128  # in all; of one function in one module at most:
MOST_OF_ONE = 3  # which differ in shapes or in what else they are given
MOST_BYTES = 2**30  # of arguments that are kept
LARGE_MODEL = 2**28  # bytes of parameters


def record(probe: Probe, *, layers: bool) -> tuple[list[Call], list[GradientCheck]]:
    """Run the items once, or with fewer where memory runs out.

    Returns the calls to check, and what can be told without checking any.
    """
    if not probe.batches or not probe.items:
        return [], [unchecked("there is no item to run")]
    few = probe.first(ITEMS)
    size = nbytes(few.batches[0].inputs) / max(few.items, 1)
    few = few.first(FEW if size > LARGE else ITEMS)
    try:
        recorder = _Recorder(differentiable_copy(few.module), layers=layers)
    except NotObservable as error:
        return [], [unchecked(str(error))]
    recorder.run(few)
    return recorder.calls, recorder.told


class _Recorder:
    """Keeps what is heard."""

    def __init__(self, copied: Differentiable, *, layers: bool) -> None:
        self.calls: list[Call] = []
        self.told: list[GradientCheck] = []
        self._copied, self._layers = copied, layers
        self._trained = {id(one) for one in copied.parameters}
        self._buffers = {one.data_ptr() for one in copied.module.buffers() if one.numel() and _plain(one)}
        self._stack: list[str] = []
        self._seen: dict[Any, int] = {}
        self._left: dict[tuple[str, str], int] = {}
        self._bytes = self._depth = 0
        self._within = 0

    def run(self, probe: Probe) -> None:
        """One forward pass with gradients."""
        module, readout = self._copied.module, probe.readout.on(self._copied.module)
        handles: list[Any] = []
        for name, part in module.named_modules():
            handles += self._hooked(name, part)
        begin_at(probe.seed)
        try:
            inputs = each(probe.batches[0].inputs, lambda one: _wanting(one.to(probe.device)))
            listening = Listener(self._heard).attached()
            with torch.inference_mode(mode=False), torch.enable_grad(), readout.attached(), listening, self._saving():
                readout(inputs)
        except Exception as error:  # a model may do in inference what it cannot do with gradients
            why = "memory ran out" if out_of_memory(error) else in_one_line(error)
            self.told.append(unchecked(f"the model fails where gradients are wanted, so that not all was seen: {why}"))
        finally:
            for handle in handles:
                handle.remove()
        own = {key[1] for key in self._seen if len(key) == 2 and key[0] != "layer"}
        self.calls = [replace(one, calls_custom=one.module in own) for one in self.calls]
        for (function, name), count in self._left.items():
            message = f"{count} more calls were not checked, since so many were before"
            self.told.append(unchecked(message, function=function, module=name, depth=self._depth))

    def _saving(self) -> AbstractContextManager[Any]:
        """In a large model nothing is kept for a backward, which is never made here; only who depends on whom."""
        if sum(one.nbytes for one in self._copied.parameters) < LARGE_MODEL:
            return contextlib.nullcontext()
        return torch.autograd.graph.saved_tensors_hooks(lambda tensor: None, lambda nothing: torch.zeros(()))

    def _hooked(self, name: str, part: nn.Module) -> Iterable[Any]:
        def before(module: nn.Module, args: Any, kwargs: Any) -> None:
            self._stack.append(name)
            if self._layers and not any(True for _ in module.children()):
                self._layer(name, module, args, kwargs)

        def after(*_: Any) -> None:
            if self._stack:
                self._stack.pop()

        try:
            yield part.register_forward_pre_hook(before, prepend=True, with_kwargs=True)
            yield part.register_forward_hook(after, always_call=True)
        except Exception:  # a scripted module takes none, and holds no function of Python
            return

    def _layer(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        if self._seen.get(("layer", name)):
            return
        self._seen["layer", name] = 1
        self._depth += 1
        try:
            call = call_of_layer(name, module, args, kwargs, self._depth, frozen=self._copied.frozen)
        except Exception as error:  # a module may hold what cannot be copied
            kind = type(module).__name__
            why = f"it cannot be copied: {in_one_line(error)}"
            self.told.append(unchecked(why, function=kind, module=name, depth=self._depth))
            return
        self._keep(call, name)

    def _heard(self, kind: type[Function], args: tuple[Any, ...], plain: bool) -> None:
        name = self._stack[-1] if self._stack else ""
        self._depth += 1
        if not plain:
            if not self._seen.get(("transformed", kind, name)):
                why = "it is called within a transform of torch.func, where its arguments cannot be kept"
                self.told.append(unchecked(why, function=name_of(kind), module=name, depth=self._depth))
            self._seen["transformed", kind, name] = 1
            return
        key = (kind, name, tuple(_looks(one) for one in args))
        if self._seen.get(key):
            return
        self._seen[key] = 1
        of_one = self._seen[kind, name] = self._seen.get((kind, name), 0) + 1
        if of_one > MOST_OF_ONE:
            self._leave(name_of(kind), name)
            return
        strange = next((one for one in args if isinstance(one, Tensor) and not _plain(one)), None)
        if strange is not None:
            why = f"it is given a tensor of a kind that cannot be varied ({type(strange).__name__}, {strange.layout})"
            self.told.append(unchecked(why, function=name_of(kind), module=name, depth=self._depth))
            return
        varied = self._varied(args)
        try:
            with torch.inference_mode(mode=False), torch.no_grad():
                kept = tuple(_kept(one) for one in args)
        except Exception as error:  # tensors of a class of the user's may refuse to be copied
            why = f"its arguments cannot be kept: {in_one_line(error)}"
            self.told.append(unchecked(why, function=name_of(kind), module=name, depth=self._depth))
            return
        self._keep(
            Call(
                apply=apply_of(kind), function=name_of(kind), module=name, arguments=kept, varied=varied,
                depth=self._depth,
            ),
            name,
        )  # fmt: skip

    def _keep(self, call: Call, name: str) -> None:
        size = sum(one.nbytes for one in call.arguments if isinstance(one, Tensor))
        if len(self.calls) >= MOST_CALLS or self._bytes + size > MOST_BYTES:
            self._leave(call.function, name)
            return
        self._bytes += size
        self.calls.append(call)

    def _leave(self, function: str, name: str) -> None:
        self._left[function, name] = self._left.get((function, name), 0) + 1

    def _varied(self, args: tuple[Any, ...]) -> dict[int, bool]:
        """Which arguments gradients are asked for, and whether the training depends on them."""
        tensors = {place: one for place, one in enumerate(args) if isinstance(one, Tensor) and _smooth(one)}
        found = {place: self._needed(one) for place, one in tensors.items() if one.requires_grad}
        if not any(not isinstance(tensors[place], nn.Parameter) for place in found):
            # Nothing that it computes with wants a gradient: it runs under no_grad. A wrong value is wrong even so.
            found |= {
                place: False
                for place, one in tensors.items()
                if place not in found
                and not isinstance(one, nn.Parameter)
                and (one.is_inference() or one.data_ptr() not in self._buffers)
            }
        return dict(sorted(found.items()))

    def _needed(self, tensor: Tensor) -> bool:
        if isinstance(tensor, nn.Parameter):
            return not self._copied.frozen
        if not self._trained:
            return True
        waiting, seen = [tensor.grad_fn], set()
        while waiting:
            step = waiting.pop()
            if step is None or step in seen:
                continue
            seen.add(step)
            if id(getattr(step, "variable", None)) in self._trained:
                return True
            waiting += [one for one, _ in step.next_functions]
        return False


def _wanting(tensor: Tensor) -> Tensor:
    """A copy that wants a gradient, and that may be changed in place."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        copied = tensor.detach().clone()
        return copied.requires_grad_().clone() if _smooth(copied) else copied


def _smooth(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _plain(tensor: Tensor) -> bool:
    return type(tensor) in (Tensor, nn.Parameter, nn.Buffer) and tensor.layout == torch.strided


def _kept(value: Any) -> Any:
    """Copies of all tensors, as they are at this moment."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if type(value) in (list, tuple):
        return type(value)(_kept(one) for one in value)
    if type(value) is dict:
        return {name: _kept(one) for name, one in value.items()}
    return value


def _looks(value: Any) -> Any:
    """What makes a call another one: not its numbers."""
    if isinstance(value, Tensor):
        return value.dtype, value.ndim, value.requires_grad
    if isinstance(value, bool | int | float | str | None):
        return type(value), value
    return type(value)
