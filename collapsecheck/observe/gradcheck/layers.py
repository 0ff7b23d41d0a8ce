"""A layer as an operation of its inputs and its parameters."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.rnn import PackedSequence

from collapsecheck.observe.gradcheck.call import Call

ROWS = 2  # of the inputs, where they are larger than this many numbers:
LARGE = 2**12


def call_of_layer(name: str, module: nn.Module, args: Any, kwargs: Any, depth: int, *, frozen: bool) -> Call:
    """The call that a layer is about to make; raises whatever a layer that cannot be copied raises."""
    if isinstance(module, torch.jit.ScriptModule):
        raise TypeError("it is compiled by TorchScript")
    with torch.inference_mode(mode=False), torch.no_grad():
        held: dict[int, Any] = {id(one): nn.Parameter(one.detach().clone()) if _smooth(one) else one.detach().clone()
                                for one in module.parameters()}  # fmt: skip
        held |= {id(one): one.detach().clone() for one in module.buffers()}
        own = copy.deepcopy(module, held)
    own._forward_hooks.clear()
    own._forward_pre_hooks.clear()
    own._backward_hooks.clear()
    own._backward_pre_hooks.clear()
    names = [key for key, one in own.named_parameters() if _smooth(one)]
    given = list(args) + list(kwargs.values())
    if any(isinstance(one, PackedSequence) for one in given):
        raise TypeError("it is given packed sequences")
    positions, keys = len(args), list(kwargs)
    wide = {"double": True}

    def apply(*values: Any) -> Any:
        inputs, weights = values[: len(given)], values[len(given) :]
        double = any(isinstance(one, Tensor) and one.dtype == torch.float64 for one in values)
        if double is not wide.get("now"):
            own.double() if double else own.float()
            wide["now"] = double
        tensors = dict(zip(names, weights, strict=True))
        tensors |= {key: one.detach().clone() for key, one in own.named_buffers()}
        return functional_call(own, tensors, inputs[:positions], dict(zip(keys, inputs[positions:], strict=True)))

    with torch.inference_mode(mode=False), torch.no_grad():
        kept = [_cut(one, given) if isinstance(one, Tensor) else one for one in given]
        weights = [dict(own.named_parameters())[key].detach().clone() for key in names]
    varied = {place: True for place, one in enumerate(kept) if isinstance(one, Tensor) and _smooth(one) and one.numel()}
    varied |= {len(given) + place: not frozen for place in range(len(names))}
    return Call(
        apply=apply,
        function=type(module).__name__,
        module=name,
        arguments=(*kept, *weights),
        varied=varied,
        names=[*("input" if place == 0 else f"input {place}" for place in range(len(given))), *names],
        depth=depth,
        untouched=frozenset(range(len(given), len(given) + len(names))),
        custom=False,
    )


def _smooth(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _cut(tensor: Tensor, given: list[Any]) -> Tensor:
    """Fewer items of a large tensor that is the only one; layers take any number of them."""
    alone = sum(isinstance(one, Tensor) for one in given) == 1
    rows = tensor[:ROWS] if alone and tensor.ndim > 1 and tensor.numel() > LARGE else tensor
    return rows.detach().clone()
