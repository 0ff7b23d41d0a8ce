"""What a model is given for a batch: one tensor, or several by the names of the model's arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

Inputs = torch.Tensor | dict[str, torch.Tensor]
"""A tensor `[n, …]`, or tensors of the same n by name, such as `input_ids` and `attention_mask`."""

MASKS = ("attention_mask", "mask", "padding_mask")  # 1 where there is something, 0 where there is padding


def count(inputs: Inputs) -> int:
    """Number of items."""
    return len(main(inputs))


def main(inputs: Inputs) -> torch.Tensor:
    """Return the tensor that tells items apart: the only one, or the first that is no mask."""
    if isinstance(inputs, torch.Tensor):
        return inputs
    return next((tensor for name, tensor in inputs.items() if name not in MASKS), next(iter(inputs.values())))


def mask_of(inputs: Inputs) -> torch.Tensor | None:
    """Return the mask `[n, t]` that says where there is no padding, if there is one."""
    if isinstance(inputs, torch.Tensor):
        return None
    found = (inputs[name] for name in MASKS if name in inputs)
    return next((mask for mask in found if mask.ndim == 2), None)


def each(inputs: Inputs, change: Callable[[torch.Tensor], torch.Tensor]) -> Inputs:
    """Change every tensor."""
    if isinstance(inputs, torch.Tensor):
        return change(inputs)
    return {name: change(tensor) for name, tensor in inputs.items()}


def part(inputs: Inputs, rows: slice) -> Inputs:
    """Take some of the items."""
    return each(inputs, lambda tensor: tensor[rows])


def nbytes(inputs: Inputs) -> int:
    """Memory of all tensors."""
    return inputs.nbytes if isinstance(inputs, torch.Tensor) else sum(tensor.nbytes for tensor in inputs.values())


def item_shape(inputs: Inputs) -> torch.Size | dict[str, torch.Size]:
    """Shape of one item, by name where there are several tensors."""
    if isinstance(inputs, torch.Tensor):
        return inputs.shape[1:]
    return {name: tensor.shape[1:] for name, tensor in inputs.items()}


def stacked(items: Sequence[Inputs]) -> Inputs:
    """Make a batch of single items (without their first axis)."""
    if all(isinstance(item, torch.Tensor) for item in items):
        return torch.stack([main(item) for item in items])
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}  # type: ignore[index]


def described(inputs: Inputs) -> str:
    """Shape and type of a batch, for messages."""
    if isinstance(inputs, Mapping):
        return ", ".join(f"{name} {described(tensor)}" for name, tensor in inputs.items())
    return f"of shape {list(inputs.shape)}, {str(inputs.dtype).removeprefix('torch.')}"
