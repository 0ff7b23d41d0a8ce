"""A forward pass that gradients can come back through, on a copy: the user's model keeps every bit of its state."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from collapsecheck.datasets.inputs import Inputs, each, item_shape
from collapsecheck.datasets.inputs import part as part_of
from collapsecheck.observe import NotObservable
from collapsecheck.observe.differentiable import differentiable_copy
from collapsecheck.observe.gradients import ITEMS, LEARNING, LEAST
from collapsecheck.observe.probe import Probe, ProbeBatch
from collapsecheck.observe.sensitivity import LastLayer
from collapsecheck.observe.views import second_view
from collapsecheck.user_code import in_one_line

# Bytes that a backward pass may keep of the items: no more than a scan takes anyway.
MEMORY = 4 * 2**30


@dataclass(kw_only=True)
class Backward:
    """A forward pass that gradients can come back through.

    Parameters
    ----------
    probe : the items, with a copy of the model whose parameters all learn.
    inputs : what went in; `labels` the classes.
    rows : embeddings [n, d], those of second views behind the others if `paired`.
    order : number of the call in which each module ran first, by name.
    last : what went through the last layer that a gradient comes back to.
    """

    probe: Probe
    inputs: Inputs
    labels: Tensor | None
    rows: Tensor
    paired: bool
    order: dict[str, int]
    last: LastLayer
    reasons: dict[str, str] = field(default_factory=dict)

    def compared(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Embeddings, labels and embeddings of second views, as objectives take them."""
        if not self.paired:
            return self.rows, self.labels, None
        half = len(self.rows) // 2
        return self.rows[:half], self.labels, self.rows[half:]


def run(probe: Probe, *, paired: bool = False, whole: bool = True, inputs_learn: bool = False) -> Backward:
    """Run the first items through a copy of the model whose parameters learn; `paired` adds second views of them.

    Gradients come back through as many as there is memory for, and through `LEARNING` at most unless the `whole` batch
    is asked for: a loss that compares items is unmoved if all are moved alike, which half of them would break.
    Gradients of the inputs as well (`inputs_learn`) can double the cost.

    Raises
    ------
    NotObservable
        If there are too few items, no parameters, or the model fails.
    """
    batch = gathered(probe)
    if len(batch.indices) < LEAST:
        raise NotObservable(f"gradients of {len(batch.indices)} items say nothing; at least {LEAST} are needed")
    probe = probe.in_full_precision()
    if not any(one.is_floating_point() for one in probe.module.parameters()):
        raise NotObservable("the model has no parameters here, so that there is nothing to train")
    probe = replace(probe.on(differentiable_copy(probe.module, every=True).module), turn=None, base=None)
    learning = affordable(probe, batch)
    if whole:
        batch = batch.part(slice(0, learning))
    else:
        learning = min(learning, LEARNING)
    probe = replace(probe, batches=[batch])
    order: dict[str, int] = {}
    last = LastLayer()
    torch.default_generator.manual_seed(probe.seed)
    views = second_view(_placed(batch.inputs, probe.device, learn=False)) if paired else None

    def read(rows: slice, *, learn: bool) -> tuple[Tensor, Tensor | None]:
        """Embeddings of some items, and of their second views."""
        given = _placed(part_of(batch.inputs, rows), probe.device, learn=learn and inputs_learn)
        with torch.set_grad_enabled(learn):
            if views is None or not isinstance(given, Tensor):
                return probe.readout(given), None
            first, second = probe.readout(torch.cat([given, views[rows]])).chunk(2)
            return first, second

    with probe.readout.attached():
        try:
            with _noting(probe.module, order, last):
                parts = [read(slice(0, learning), learn=True)]
            if learning < len(batch.indices):
                parts.append(read(slice(learning, None), learn=False))
        except Exception as error:  # running out of memory is no error of ours, and must not look like a broken check
            raise NotObservable(f"the model does not run with gradients: {in_one_line(error)}") from error
    seconds = [two for _, two in parts if two is not None]
    rows = torch.cat([*(one for one, _ in parts), *seconds])
    rows = rows.double() if rows.device.type != "mps" else rows.float()
    if rows.requires_grad:
        rows.retain_grad()
    return Backward(
        probe=probe,
        inputs=_placed(part_of(batch.inputs, slice(0, learning)), probe.device, learn=False),
        labels=None if batch.labels is None else batch.labels.to(rows.device),
        rows=rows,
        paired=bool(seconds),
        order=order,
        last=last,
    )


def affordable(probe: Probe, batch: ProbeBatch) -> int:
    """How many items of a batch go through a backward pass: what that keeps is measured on the first two.

    Raises
    ------
    NotObservable
        If not even `LEAST` items fit.
    """
    parameters = {one.untyped_storage().data_ptr() for one in probe.module.parameters()}
    kept: dict[int, int] = {}

    def weighed(tensor: Tensor) -> Tensor:
        if tensor.layout == torch.strided and not tensor.is_nested:
            place = tensor.untyped_storage().data_ptr()
            if place not in parameters:
                kept[place] = max(kept.get(place, 0), tensor.nbytes)
        return tensor

    few = batch.part(slice(0, 2))
    try:
        with probe.readout.attached(), torch.autograd.graph.saved_tensors_hooks(weighed, lambda tensor: tensor):
            rows = probe.readout(_placed(few.inputs, probe.device, learn=False))
    except Exception as error:  # as in `run`
        raise NotObservable(f"the model does not run with gradients: {in_one_line(error)}") from error
    each = max(sum(kept.values()) / len(few.indices), 1.0)
    del rows
    if LEAST * each > MEMORY:
        raise NotObservable(f"a backward pass over {LEAST} items would take {LEAST * each / 2**30:.1f} GiB of memory")
    return min(len(batch.indices), int(MEMORY / each))


def gathered(probe: Probe, items: int = ITEMS) -> ProbeBatch:
    """The first items in one batch: of several batches where they are small and of one shape."""
    kept: list[ProbeBatch] = []
    shape = None
    for batch in probe.batches:
        here = item_shape(batch.inputs)
        shape = shape if kept else here
        room = items - sum(len(one.indices) for one in kept)
        if here != shape or room <= 0:
            break
        kept.append(batch.part(slice(0, room)))
    if not kept:
        raise NotObservable("there are no items")
    if len(kept) == 1:
        return kept[0]
    labels = [one.labels for one in kept if one.labels is not None]
    first = kept[0].inputs
    return ProbeBatch(
        inputs=(
            torch.cat([one.inputs for one in kept])
            if isinstance(first, Tensor)
            else {name: torch.cat([one.inputs[name] for one in kept]) for name in first}
        ),
        indices=torch.cat([one.indices for one in kept]),
        labels=torch.cat(labels) if len(labels) == len(kept) else None,
    )


def _placed(inputs: Inputs, device: torch.device, *, learn: bool) -> Inputs:
    """Inputs on the device, outside of inference mode; with `learn`, floating ones ask for a gradient."""

    def placed(tensor: Tensor) -> Tensor:
        tensor = tensor.to(device)
        tensor = tensor.clone() if tensor.is_inference() else tensor.detach()
        return tensor.requires_grad_(learn and tensor.is_floating_point())

    return each(inputs, placed)


@contextlib.contextmanager
def _noting(module: nn.Module, order: dict[str, int], last: LastLayer) -> Iterator[None]:
    """Note in which order modules run, and what goes through those with matrices of weights."""

    def hook(name: str) -> Callable[..., None]:
        def note(*_: Any) -> None:
            order.setdefault(name, len(order))

        return note

    handles = [
        part.register_forward_pre_hook(hook(name))
        for name, part in module.named_modules()
        if not isinstance(part, torch.jit.ScriptModule)
    ]
    handles += [
        part.register_forward_hook(last.heard)
        for part in module.modules()
        if not isinstance(part, torch.jit.ScriptModule) and _weighted(part)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _weighted(part: nn.Module) -> bool:
    held = (one for one in part._parameters.values() if one is not None)
    return not any(True for _ in part.children()) and any(one.ndim > 1 for one in held)


@contextlib.contextmanager
def eager(module: nn.Module) -> Iterator[None]:
    """Run compiled parts as they were written: compiling a backward pass takes minutes."""
    if any(type(part).__name__ == "OptimizedModule" for part in module.modules()):
        with torch.compiler.set_stance("force_eager"):
            yield
    else:
        yield


@contextlib.contextmanager
def forked(probe: Probe) -> Iterator[None]:
    """Keep torch's random state as it is outside, and what torch would warn of to itself."""
    devices = [probe.device] if probe.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
