"""How embeddings follow their inputs, and how alike the gradients of single items are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from collapsecheck.datasets.inputs import Inputs
from collapsecheck.observe import NotObservable
from collapsecheck.observe.gradients import FEW
from collapsecheck.observe.probe import Probe
from collapsecheck.user_code import in_one_line

# Numbers in the gradients of all single items together.
MOST_NUMBERS = 20_000_000
LINES = 3  # items between which the embedding is followed: each costs as much as four in a forward pass
STEP = 1e-2  # of the way to the other item, where forward-mode differentiation fails


def sensitivity(probe: Probe, inputs: Inputs, reasons: dict[str, str]) -> tuple[float, float]:
    """Elasticity and excess of the embedding along the lines from item to item (see `Gradients`).

    The Jacobian-vector product is that of forward-mode differentiation; where an operation has none, that of central
    differences, which is noted in `reasons`.
    """
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        reasons["input-sensitivity"] = "the inputs are whole numbers or several tensors: there is no line between two"
        return math.nan, math.nan
    x = inputs.detach()[:LINES]
    towards = x.roll(1, 0) - x
    with probe.readout.attached(), torch.no_grad(), _unfused():
        read: Callable[[Tensor], Tensor] = probe.readout
        try:
            found: Any = torch.func.jvp(read, (x,), (towards,))
            rows, moved = found
            if not bool(moved.abs().sum() > 0):  # cut off, as by detach(): that is no answer of the embedding
                raise NotObservable("it is zero everywhere")
        except Exception as error:  # not every operation has a forward derivative
            reasons["jvp"] = f"by central differences, since there is no forward derivative: {in_one_line(error)}"
            try:
                rows = read(x)
                moved = (read(x + STEP * towards) - read(x - STEP * towards)) / (2 * STEP)
            except Exception as again:  # inputs between two items may be none that the model takes
                reasons["input-sensitivity"] = f"the model failed: {in_one_line(again)}"
                return math.nan, math.nan
    rows, moved = rows.double(), moved.double()
    length, real = rows.norm(dim=1), (rows.roll(1, 0) - rows).norm(dim=1)
    step = moved.norm(dim=1)
    return _median(step / length), _median(step / real)


@dataclass
class LastLayer:
    """The last layer that a gradient comes back to: what went in [n, …], and the gradient at what came out [n, …]."""

    module: nn.Module | None = None
    given: Tensor | None = None
    gradient: Tensor | None = None

    def heard(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """A hook for every layer with weights: the first gradient that comes back is that of the last of them."""
        if not isinstance(output, Tensor) or not output.requires_grad or not args or not isinstance(args[0], Tensor):
            return
        given = args[0].detach()

        def back(gradient: Tensor) -> None:
            if self.module is None and bool(gradient.ne(0).any()):
                self.module, self.given, self.gradient = module, given, gradient.detach()

        output.register_hook(back)  # type: ignore[no-untyped-call]


def per_item_similarity(last: LastLayer, reasons: dict[str, str]) -> float:
    """Mean cosine over the pairs of items between their gradients at the last weights; NaN with a reason.

    The gradients of single items are those of the layer alone (`torch.func`), from what went through it already.
    """
    module, given, gradient = last.module, last.given, last.gradient
    if module is None or given is None or gradient is None:
        reasons["similarity"] = "no gradient comes back to a layer that gets and gives a tensor"
        return math.nan
    weights = {name: one.detach() for name, one in module.named_parameters(recurse=False) if one.ndim > 1}
    size = sum(one.numel() for one in weights.values())
    count = min(len(given), len(gradient), FEW, MOST_NUMBERS // max(size, 1))
    if count < 2 or len(given) != len(gradient):
        reasons["similarity"] = f"the last layer has {size:,} weights, too many for the gradients of single items"
        return math.nan

    def value(held: dict[str, Tensor], one: Tensor, pull: Tensor) -> Tensor:
        product: Tensor = (torch.func.functional_call(module, held, (one[None],))[0] * pull).sum()
        return product

    try:
        found = torch.func.vmap(torch.func.grad(value), in_dims=(None, 0, 0))(weights, given[:count], gradient[:count])
    except Exception as error:  # control flow that depends on data, operations without a batching rule
        reasons["similarity"] = f"the gradients of single items failed: {in_one_line(error)}"
        return math.nan
    rows = torch.cat([one.flatten(1) for one in found.values()], dim=1)
    norms = rows.norm(dim=1)
    unit = rows[norms > 0] / norms[norms > 0, None]
    if len(unit) < 2 or not bool(torch.isfinite(unit).all()):
        reasons["similarity"] = "fewer than two items have a gradient"
        return math.nan
    return float((unit.detach().sum(0).square().sum() - len(unit)) / (len(unit) * (len(unit) - 1)))


@contextmanager
def _unfused() -> Iterator[None]:
    """Keep torch's attention from its fused path, which has no forward derivative."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def _median(values: Tensor) -> float:
    finite = values[torch.isfinite(values)]
    return float(finite.median()) if len(finite) else math.nan
