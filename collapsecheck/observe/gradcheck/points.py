"""Where to look: numbers a little off those that were recorded, and which of their elements."""

from __future__ import annotations

import torch
from torch import Tensor

JITTER = 0.01  # of the size of the numbers: off kinks and ties
OF_CONSTANTS = 0.2  # fresh scales are all 1, fresh offsets all 0, where a factor that is missing does not show


def moved(tensor: Tensor, seed: int) -> Tensor:
    """The numbers, each moved a little, within the range that they had.

    Zeros behind a ReLU stay positive, probabilities stay below 1; a symmetric matrix stays symmetric.
    """
    if not tensor.numel():
        return tensor
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
    signs = torch.randint(2, tensor.shape, generator=generator) * 2.0 - 1
    step = ((0.5 + numbers) * signs).to(tensor)
    low, high = tensor.min(), tensor.max()
    if symmetric(tensor):
        return tensor + JITTER * size_of(tensor) * symmetrised(step)
    if bool(low == high):
        return tensor + OF_CONSTANTS * size_of(tensor) * step
    step = JITTER * torch.minimum(size_of(tensor), high - low) * step
    other = tensor + step
    outside = (other > high) | (other < low)
    return torch.where(outside, tensor - step, other)


def size_of(tensor: Tensor) -> Tensor:
    """Root mean square; of zeros 0.1."""
    size = tensor.square().mean().sqrt() if tensor.numel() else tensor.sum()
    return torch.where(torch.isfinite(size) & (size > 0), size, torch.full_like(size, 0.1))


def direction(tensor: Tensor, seed: int) -> Tensor:
    """+1 or −1 for each number; symmetric for a symmetric matrix, whose two halves are one."""
    generator = torch.Generator().manual_seed(seed)
    signs = (torch.randint(2, tensor.shape, generator=generator) * 2.0 - 1).to(tensor)
    return symmetrised(signs) if symmetric(tensor) else signs


def symmetric(tensor: Tensor) -> bool:
    """Whether the last two axes are a symmetric matrix of which an operation may read one half only."""
    if tensor.ndim < 2 or tensor.shape[-1] != tensor.shape[-2] or tensor.shape[-1] < 2:
        return False
    first = tensor.reshape(-1, *tensor.shape[-2:])[:1]
    if not torch.allclose(first, first.mT, rtol=1e-4):  # most are not, at one look
        return False
    off = tensor - tensor.mT
    return bool((off.abs().max() <= 1e-6 * tensor.abs().max()) & (tensor != 0).any())


def symmetrised(tensor: Tensor) -> Tensor:
    """The half below the diagonal, and its mirror image."""
    return tensor.tril() + tensor.tril(-1).mT


def chosen(tensor: Tensor, gradient: Tensor | None, count: int, seed: int) -> list[int]:
    """Places in the flattened tensor: drawn at random, the least, the largest, and where the gradient is largest."""
    numel = tensor.numel()
    generator = torch.Generator().manual_seed(seed)
    many = numel > 64 * count
    drawn = torch.randint(numel, (count,), generator=generator) if many else torch.randperm(numel, generator=generator)
    found = drawn[:count].tolist()
    if numel > count:
        extremes = [int(tensor.argmin()), int(tensor.argmax())]
        if gradient is not None:
            extremes = [*gradient.abs().flatten().topk(min(2, numel)).indices.tolist(), *extremes]
        found = [*extremes[: count // 2], *found]
    return list(dict.fromkeys(found))[:count]
