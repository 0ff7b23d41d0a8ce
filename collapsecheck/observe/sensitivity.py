"""How embeddings follow their inputs, and how alike the gradients of single items are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from collapsecheck.datasets.inputs import Inputs, part
from collapsecheck.observe import NotObservable
from collapsecheck.observe.gradients import FEW, LayerGradient
from collapsecheck.observe.probe import Probe
from collapsecheck.user_code import in_one_line

# Numbers in the gradient of one item: as many of the last layers as fit, eight times.
MOST_NUMBERS = 3_000_000
STEP = 1e-2  # of the way to the other item, where forward-mode differentiation fails


def sensitivity(probe: Probe, inputs: Inputs, reasons: dict[str, str]) -> tuple[float, float]:
    """Elasticity and excess of the embedding along the lines from item to item (see `Gradients`).

    The Jacobian-vector product is that of forward-mode differentiation; where an operation has none, that of central
    differences, which is noted in `reasons`.
    """
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        reasons["input-sensitivity"] = "the inputs are whole numbers or several tensors: there is no line between two"
        return math.nan, math.nan
    x = inputs.detach()[: 2 * (FEW // 2)]
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
            except Exception as again:
                reasons["input-sensitivity"] = f"the model failed: {in_one_line(again)}"
                return math.nan, math.nan
    rows, moved = rows.double(), moved.double()
    length, real = rows.norm(dim=1), (rows.roll(1, 0) - rows).norm(dim=1)
    step = moved.norm(dim=1)
    return _median(step / length), _median(step / real)


def per_item_similarity(
    probe: Probe, inputs: Inputs, pull: Tensor | None, layers: Sequence[LayerGradient], reasons: dict[str, str]
) -> float:
    """Mean cosine over the pairs of items between their gradients at the last weights; NaN with a reason."""
    if pull is None or not bool(pull.abs().sum() > 0):
        reasons["similarity"] = "the objective has no gradient at these embeddings"
        return math.nan
    names: list[str] = []
    numbers = 0
    for one in reversed([one for one in layers if one.matrix and one.gradient > 0]):
        size = sum(probe.module.get_parameter(name).numel() for name in one.tensors)
        if numbers + size > MOST_NUMBERS:
            continue
        names += one.tensors
        numbers += size
    if not names:
        reasons["similarity"] = f"the last layer has more than {MOST_NUMBERS:,} weights, or none has a gradient"
        return math.nan
    few, pull = part(_detached(inputs), slice(0, FEW)), pull.detach()[:FEW]
    try:
        gradients = _by_vmap(probe, few, pull, names)
    except Exception:  # control flow that depends on data, operations without a batching rule
        gradients = None
    if gradients is None or not bool(gradients.abs().sum() > 0):  # recurrent layers keep their weights in a list
        try:
            gradients = _one_by_one(probe, few, pull, names)
        except Exception as error:
            reasons["similarity"] = f"the gradient of a single item failed: {in_one_line(error)}"
            return math.nan
    norms = gradients.norm(dim=1)
    unit = gradients[norms > 0] / norms[norms > 0, None]
    count = len(unit)
    if count < 2 or not bool(torch.isfinite(unit).all()):
        reasons["similarity"] = "fewer than two items have a gradient"
        return math.nan
    return float((unit.detach().sum(0).square().sum() - count) / (count * (count - 1)))


@contextmanager
def _unfused() -> Iterator[None]:
    """Keep torch's attention from its fused path, which has no forward derivative."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


class _Reader(nn.Module):
    """The readout as a module, so that its weights can be given from outside."""

    def __init__(self, probe: Probe) -> None:
        super().__init__()
        self.model = probe.module
        self._read = probe.readout

    def forward(self, inputs: Any) -> Tensor:
        return self._read(inputs)


def _by_vmap(probe: Probe, inputs: Inputs, pull: Tensor, names: Sequence[str]) -> Tensor:
    """Gradients [n, p] of all items at once."""
    reader = _Reader(probe)
    weights = {f"model.{name}": probe.module.get_parameter(name).detach() for name in names}

    def value(given: dict[str, Tensor], one: Inputs, direction: Tensor) -> Tensor:
        single = one[None] if isinstance(one, Tensor) else {key: tensor[None] for key, tensor in one.items()}
        row = torch.func.functional_call(reader, given, (single,))[0]
        product: Tensor = (row.to(direction) * direction).sum()
        return product

    with probe.readout.attached():
        found = torch.func.vmap(torch.func.grad(value), in_dims=(None, 0, 0), randomness="different")(
            weights, inputs, pull
        )
    return torch.cat([one.flatten(1).double() for one in found.values()], dim=1)


def _one_by_one(probe: Probe, inputs: Inputs, pull: Tensor, names: Sequence[str]) -> Tensor:
    """Gradients [n, p], item by item."""
    weights = [probe.module.get_parameter(name) for name in names]
    rows = []
    with probe.readout.attached():
        for one, direction in enumerate(pull):
            row = probe.readout(part(inputs, slice(one, one + 1)))[0]
            found = torch.autograd.grad((row.to(direction) * direction).sum(), weights, allow_unused=True)
            rows.append(torch.cat([_flat(g, w) for g, w in zip(found, weights, strict=True)]))
    return torch.stack(rows)


def _flat(gradient: Tensor | None, weight: Tensor) -> Tensor:
    whole = torch.zeros_like(weight) if gradient is None else gradient
    return (whole.to_dense() if whole.is_sparse else whole).flatten().double()


def _detached(inputs: Inputs) -> Inputs:
    from collapsecheck.datasets.inputs import each

    return each(inputs, Tensor.detach)


def _median(values: Tensor) -> float:
    finite = values[torch.isfinite(values)]
    return float(finite.median()) if len(finite) else math.nan
