"""A copy of the model whose parameters want gradients; nothing of the original is touched."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from collapsecheck.observe import NotObservable
from collapsecheck.user_code import in_one_line

# Up to so many bytes of parameters are copied, so that a forward that writes to its own weights changes none of ours.
COPIED = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Differentiable:
    """The copy, and which of its parameters were meant to be trained."""

    module: nn.Module
    parameters: tuple[Tensor, ...]  # those that are trained
    frozen: bool  # whether none was marked as trained, so that all count as it but may not be


@contextlib.contextmanager
def kept_tensors(module: nn.Module) -> Iterator[None]:
    """Put back what an operation has changed in the model itself, which it may hold without being part of it."""
    held = [*module.parameters(), *module.buffers()]
    held = [one for one in held if not nn.parameter.is_lazy(one) and not one.is_inference()]
    gradients = [(one, one.grad, None if one.grad is None else one.grad.clone()) for one in held]
    small = sum(one.nbytes for one in held) <= COPIED
    numbers = [(one, one.detach().clone()) for one in held if small]
    try:
        yield
    finally:
        with torch.no_grad():
            for one, gradient, before in gradients:
                if gradient is not None and before is not None and not _equal(gradient, before):
                    gradient.copy_(before)
                if one.grad is not gradient:
                    one.grad = gradient
            for one, was in numbers:
                if not _equal(one, was):
                    one.copy_(was)


def _equal(one: Tensor, other: Tensor) -> bool:
    """NaN counts as itself."""
    if one.layout != torch.strided or one.is_quantized:
        return True
    same = one == other
    if one.is_floating_point() or one.is_complex():
        same |= one.isnan() & other.isnan()
    return bool(same.all())


def differentiable_copy(module: nn.Module, *, every: bool = False) -> Differentiable:
    """Copy a model; raises NotObservable where it cannot be copied.

    Gradients are wanted for the parameters that want them in the model; for all of them if none does, as after loading
    for inference, or if `every` one is asked for. Recurrent layers keep their parameters twice, which a memo of the
    copy takes care of.
    """
    given = [one for one in module.parameters() if not nn.parameter.is_lazy(one)]
    small = sum(one.nbytes for one in given) <= COPIED
    frozen = not any(one.requires_grad for one in given)
    memo: dict[int, Any] = {}
    trained: list[Tensor] = []
    for one in given:
        numbers = one.detach().clone() if small or one.is_inference() else one.detach()
        wanted = (one.requires_grad or frozen or every) and (numbers.is_floating_point() or numbers.is_complex())
        new = nn.Parameter(numbers, requires_grad=wanted)
        memo[id(one)] = new
        trained += [new] * wanted
    for buffer in module.buffers():
        memo[id(buffer)] = buffer.detach().clone()
    for part in module.modules():  # such as the weight of an old weight_norm, which is computed anew in each pass
        for value in vars(part).values():
            if isinstance(value, Tensor) and (value.grad_fn is not None or value.is_inference()):
                memo.setdefault(id(value), value.detach().clone())
    try:
        with torch.enable_grad():
            copied = copy.deepcopy(module, memo)
    except Exception as error:  # a module may hold locks, files, generators
        raise NotObservable(f"the model cannot be copied: {in_one_line(error)}") from error
    return Differentiable(module=copied, parameters=tuple(trained), frozen=frozen)
