"""One row per item out of whatever a layer returns, by rules that are stated with the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal

import torch

from collapsecheck.errors import NotMeasuredError, UsageError, printable

Pool = Literal["mean", "cls"]

# Names under which models return what could be an embedding; the first that is there is taken.
_FIELDS = (
    "embedding",
    "embeddings",
    "sentence_embedding",
    "pooler_output",
    "last_hidden_state",
    "features",
    "feat",
    "z",
    "out",
    "output",
    "logits",
)
_DEPTH = 3
_HINT = "choose another layer with --layer"


def select(value: Any, prefer: str = "") -> tuple[torch.Tensor, str]:
    """Take one tensor out of what a layer returned; the text says which, "" where there was only one.

    `prefer` names the field that is taken if it is there.

    Raises
    ------
    NotMeasuredError
        If there is none.
    """
    if isinstance(value, torch.Tensor):
        return value, ""
    if prefer and isinstance(preferred := dict(_named(value)).get(prefer), torch.Tensor):
        return preferred, _called(prefer)
    tensor, where = _search(value, _DEPTH)
    if tensor is None:
        raise NotMeasuredError(f"returned {_kind(value)}, which holds no tensor; {_HINT}")
    return tensor, where


def reduce_to_rows(
    tensor: torch.Tensor,
    items: int,
    pool: Pool,
    *,
    channels_first: bool = False,
    mask: torch.Tensor | None = None,
) -> tuple[torch.Tensor, str]:
    """Reduce a tensor to `[n, d]`; the text says how.

    Parameters
    ----------
    tensor
        `[n]`, `[n, d]`, tokens `[n, t, d]` or `[t, n, d]`, or positions `[n, c, h, w]` or `[n, c, t, h, w]`.
    items
        Number n of items in the batch.
    pool
        `cls` takes the first token, `mean` the mean over all.
    channels_first
        Whether three axes are `[n, c, t]`, as those of a Conv1d, and not tokens.
    mask
        `[n, t]`, 0 where a token only fills its item up; left out where the tokens are others.

    Raises
    ------
    NotMeasuredError
        If the shape is another, or the numbers are complex.
    UsageError
        If the first token of something without tokens is asked for.
    """
    shape = list(tensor.shape)
    if tensor.is_complex():
        raise NotMeasuredError(f"returned complex numbers of shape {shape}; {_HINT}")
    if not tensor.is_floating_point():
        tensor = tensor.to(torch.float32)
    order = ""
    if tensor.ndim == 3 and shape[0] != items and shape[1] == items:
        tensor, order = tensor.transpose(0, 1), " (sequence first)"
    if tensor.ndim not in (1, 2, 3, 4, 5) or tensor.shape[0] != items or tensor.numel() == 0:
        raise NotMeasuredError(
            f"returned a tensor of shape {shape} for a batch of {items}, expected one row or map for each; {_HINT}"
        )
    if tensor.ndim == 1:
        return tensor.unsqueeze(1), "one number per item"
    if tensor.ndim == 2:
        return tensor, "as it is"
    if tensor.ndim == 3 and mask is not None and mask.shape == tensor.shape[:2]:
        return _of_masked(tensor, mask, pool)
    if tensor.ndim == 3 and not channels_first:
        if pool == "cls":
            return tensor[:, 0], f"first of {tensor.shape[1]} tokens{order}"
        return tensor.mean(1), f"mean over {tensor.shape[1]} tokens{order}"
    if pool == "cls":
        raise UsageError(f"cls pooling needs tokens, but the layer returns maps of shape {shape}; use mean")
    sides = "x".join(map(str, shape[2:]))
    return tensor.flatten(2).mean(2), f"mean over {sides} positions"


def _of_masked(tensor: torch.Tensor, mask: torch.Tensor, pool: Pool) -> tuple[torch.Tensor, str]:
    """Take the first token, or the mean of those that are not padding; an item without any has a mean of zero."""
    there = mask.to(tensor.device) > 0
    if pool == "cls":  # padding may come first
        first = there.to(torch.uint8).argmax(1)
        return tensor[torch.arange(len(tensor), device=tensor.device), first], "first token"
    # Not times zero: what a model makes of padding may be NaN.
    kept = tensor.where(there.unsqueeze(2), torch.zeros((), dtype=tensor.dtype, device=tensor.device))
    counts = there.sum(1, keepdim=True).clamp(min=1)
    return kept.sum(1) / counts, "mean over the tokens of each item, without padding"


def _named(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((str(name), inner) for name, inner in value.items())
    elif is_dataclass(value) and not isinstance(value, type):
        yield from ((field.name, getattr(value, field.name, None)) for field in fields(value))
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from zip(value._fields, value, strict=True)
    elif isinstance(value, tuple | list):
        yield from ((str(number), inner) for number, inner in enumerate(value))


def _search(value: Any, depth: int) -> tuple[torch.Tensor | None, str]:
    named = dict(_named(value))
    tensors = {name: inner for name, inner in named.items() if isinstance(inner, torch.Tensor)}
    known = [name for name in _FIELDS if name in tensors]
    # Integers next to fractions are masks, lengths or ids.
    fractions = [name for name, inner in tensors.items() if inner.is_floating_point()]
    for name in (*known, *fractions, *tensors):
        return tensors[name], _called(name)
    # What is in a list belongs to one item each, as in the boxes of a detector: it is no batch.
    if depth and not isinstance(value, list):
        for name, inner in named.items():
            tensor, where = _search(inner, depth - 1)
            if tensor is not None:
                return tensor, f"{_called(name)}, {where}"
    return None, ""


def _called(name: str) -> str:
    return f"item {name}" if name.isdigit() else f"field {printable(name)!r}"


def _kind(value: Any) -> str:
    inner = [f"{printable(name, 40)}: {type(part).__name__}" for name, part in _named(value)]
    kind = printable(type(value).__name__)
    return f"a {kind} ({', '.join(inner[:5])})" if inner else f"a {kind}"
