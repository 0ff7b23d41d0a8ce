"""What a look at a model must leave as it was, as one value that can be compared."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import nn


def snapshot(module: nn.Module) -> dict[str, Any]:
    """Bits of weights and buffers, gradients, flags, hooks and random state of a model and of torch."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {
        "bits": {name: _bits(tensor) for name, tensor in tensors.items()},
        "places": {name: tensor.data_ptr() for name, tensor in tensors.items()},
        "objects": {name: id(tensor) for name, tensor in tensors.items()},
        "gradients": {name: None if one.grad is None else _bits(one.grad) for name, one in module.named_parameters()},
        "flags": {name: one.requires_grad for name, one in module.named_parameters()},
        "modes": {name: part.training for name, part in module.named_modules()},
        "hooks": {
            name: [len(getattr(part, kind)) for kind in vars(nn.Module()) if kind.endswith("_hooks")]
            for name, part in module.named_modules()
        },
        "random": _bits(torch.get_rng_state()),
        "fused attention": torch.backends.mha.get_fastpath_enabled(),
        "gradients on": torch.is_grad_enabled(),
    }


def _bits(tensor: torch.Tensor) -> str:
    return hashlib.sha256(
        tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    ).hexdigest()
