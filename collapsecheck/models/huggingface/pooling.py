"""What sentence-transformers puts behind a transformer: pooling without padding, a dense layer, unit length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from collapsecheck.errors import NotLoadableError, printable

MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
# How older releases wrote the modes, in the order in which they are put side by side.
_OLD = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_ACTIVATIONS = {
    "Identity": nn.Identity, "Tanh": nn.Tanh, "ReLU": nn.ReLU, "GELU": nn.GELU, "SiLU": nn.SiLU,
    "Sigmoid": nn.Sigmoid, "LeakyReLU": nn.LeakyReLU, "ELU": nn.ELU,
}  # fmt: skip
_MOST = 2**20


class Pooling(nn.Module):
    """Tokens `[n, t, d]` and their mask `[n, t]` to rows `[n, d · number of modes]`."""

    def __init__(self, modes: tuple[str, ...]) -> None:
        super().__init__()
        self.modes = modes

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Pool in every mode, side by side."""
        return torch.cat([self._pooled(mode, tokens, mask) for mode in self.modes], dim=1)

    def _pooled(self, mode: str, tokens: Tensor, mask: Tensor) -> Tensor:
        there = mask > 0
        kept = tokens.masked_fill(~there.unsqueeze(2), 0.0)
        counts = there.sum(1, keepdim=True).clamp(min=1).to(tokens.dtype)
        items = torch.arange(len(tokens), device=tokens.device)
        if mode == "cls":
            return tokens[items, there.to(torch.uint8).argmax(1)]
        if mode == "lasttoken":
            return tokens[items, mask.shape[1] - 1 - there.flip(1).to(torch.uint8).argmax(1)]
        if mode == "max":
            return tokens.masked_fill(~there.unsqueeze(2), -torch.inf).amax(1)
        if mode == "weightedmean":  # by the place among an item's own tokens, from 1
            weights = (there.cumsum(1) * there).to(tokens.dtype)
            return (kept * weights.unsqueeze(2)).sum(1) / weights.sum(1, keepdim=True).clamp(min=1)
        return kept.sum(1) / (counts if mode == "mean" else counts.sqrt())


class Dense(nn.Module):
    """A linear layer, and what comes behind it."""

    def __init__(self, size: int, units: int, *, bias: bool, activation: nn.Module, residual: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(size, units, bias=bias)
        self.activation_function = activation
        self.use_residual = residual
        self.residual: nn.Module = nn.Identity()
        if residual and size != units:
            self.residual = nn.Linear(size, units, bias=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Project rows."""
        projected: Tensor = self.activation_function(self.linear(rows))
        return projected + self.residual(rows) if self.use_residual else projected


class Normalize(nn.Module):
    """Rows of length one."""

    def forward(self, rows: Tensor) -> Tensor:
        """Divide by the length."""
        return nn.functional.normalize(rows, dim=1)


def link(kind: str, config: Mapping[str, Any]) -> nn.Module:
    """Build one module of the chain behind the transformer.

    Raises
    ------
    NotLoadableError
        If it is of a kind that is not known here, or its configuration is damaged.
    """
    if kind == "Pooling":
        return Pooling(_modes(config))
    if kind == "Normalize":
        return Normalize()
    if kind == "Dropout":
        return nn.Identity()  # nothing is dropped in evaluation
    if kind == "LayerNorm":
        layer = nn.Module()
        layer.norm = nn.LayerNorm(_size(config, "dimension"))
        layer.forward = layer.norm.forward
        return layer
    if kind == "Dense":
        named = str(config.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]
        if named not in _ACTIVATIONS:
            raise NotLoadableError(f"a dense layer has the activation {printable(named, 60)}, which is not known here")
        return Dense(
            _size(config, "in_features"),
            _size(config, "out_features"),
            bias=config.get("bias", True) is True,
            activation=_ACTIVATIONS[named](),
            residual=config.get("use_residual") is True,
        )
    raise NotLoadableError(
        f"has a module of the kind {printable(kind, 60)}, which collapsecheck does not run; "
        "build the model with --model-def FILE:CALLABLE"
    )


def _modes(config: Mapping[str, Any]) -> tuple[str, ...]:
    given = config.get("pooling_mode")
    if given is None:
        given = [mode for name, mode in _OLD.items() if config.get(name) is True] or ["mean"]
    modes = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, list) else ()
    if not modes or any(mode not in MODES for mode in modes) or len(modes) > len(MODES):
        raise NotLoadableError(f"pools in a way that is not known here: {printable(str(given), 80)}")
    return modes


def _size(config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    if not isinstance(value, int) or not 0 < value <= _MOST:
        raise NotLoadableError(f"a module of the chain says {name} = {printable(str(value), 40)}")
    return value
