"""One backward pass over a few items of a probe, on a copy: the user's model keeps every bit of its state."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from collapsecheck.datasets.inputs import Inputs, count, each, item_shape
from collapsecheck.datasets.inputs import part as part_of
from collapsecheck.errors import CollapsecheckError
from collapsecheck.models.freshness import UNTRAINED, measure_freshness
from collapsecheck.objectives import NotComputable, Objective
from collapsecheck.objectives.losses.spread import Spread
from collapsecheck.observe import NotObservable
from collapsecheck.observe.differentiable import differentiable_copy
from collapsecheck.observe.gradients import FEW, ITEMS, LEARNING, LEAST, MOVED, Gradients, LayerGradient
from collapsecheck.observe.probe import Probe, ProbeBatch
from collapsecheck.observe.sensitivity import LastLayer, per_item_similarity, sensitivity
from collapsecheck.observe.views import second_view
from collapsecheck.user_code import in_one_line

# How far weights are moved to see whether the embedding depends on them: so little revives no dead unit.
NUDGE = 1e-2
# Bytes that a backward pass may keep of the items: no more than a scan takes anyway.
MEMORY = 4 * 2**30
# Layers that are nudged one by one; more of them are only nudged together.
MOST_NUDGED = 12


@dataclass(kw_only=True)
class Backward:
    """A forward pass that gradients can come back through.

    Parameters
    ----------
    probe : the items, with the copy of the model whose parameters share the memory of the user's.
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


def gradients_of(probe: Probe, objective: Objective | None = None) -> Gradients:
    """Make one backward pass, and what belongs to it.

    Parameters
    ----------
    probe
        Items and model; the first `ITEMS` of them are used.
    objective
        The loss of the training; without, or where it has no value on these items, the label-free spread.

    Raises
    ------
    NotObservable
        If there are too few items, no parameters, or the model does not run here, with the reason.
    """
    with forked(probe), torch.enable_grad(), eager(probe.module):
        paired = objective is not None and objective.VIEWS
        whole = objective is not None
        made = run(probe, paired=paired, whole=whole)
        used, value = _back(made, objective)
        own = dict(probe.module.named_parameters(remove_duplicate=False))
        layers = _layers(made, own)
        if any(one.cut for one in layers):  # re-entrant checkpoints cut off what comes before them, unless inputs learn
            again = run(probe, paired=paired, whole=whole, inputs_learn=True)
            _back(again, objective)
            found = _layers(again, own)
            if sum(one.cut for one in found) < sum(one.cut for one in layers):
                made, layers = again, found
        elasticity, excess = sensitivity(made.probe, made.inputs, made.reasons)
        similarity = per_item_similarity(made.last, made.reasons)
    return Gradients(
        objective=used.shown,
        stated=used is objective,
        items=count(made.inputs),
        value=value,
        layers=layers,
        similarity=similarity,
        elasticity=elasticity,
        excess=excess,
        reasons=made.reasons,
    )


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
        except CollapsecheckError as error:
            raise NotObservable(f"the model does not run with gradients: {error}") from error
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


def _back(made: Backward, objective: Objective | None) -> tuple[Objective, float]:
    """Leave the gradient of the first objective that has a value here at the parameters of the copy."""
    for one in (objective, Spread()):
        if one is None:
            continue
        try:
            value = one(*made.compared())
            reached = float(value.detach())
            if not math.isfinite(reached):
                raise NotComputable(f"{one.id} is {reached} on these embeddings")
            if made.rows.requires_grad:
                value.backward()  # type: ignore[no-untyped-call]
        except NotComputable as reason:
            made.reasons["objective"] = str(reason)
        except Exception as error:  # a backward of the user's own may fail in any way
            raise NotObservable(f"the backward pass failed: {in_one_line(error)}") from error
        else:
            return one, reached
    raise NotObservable("no objective has a value on these embeddings: they are zero, or no finite numbers")


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
    except CollapsecheckError as error:
        raise NotObservable(f"the model does not run with gradients: {error}") from error
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


def _layers(made: Backward, own: dict[str, nn.Parameter]) -> tuple[LayerGradient, ...]:
    """Weight and gradient of every module that holds parameters itself and may take part."""
    found = []
    for name, part in made.probe.module.named_modules():
        held = {key: one for key, one in part._parameters.items() if one is not None and one.is_floating_point()}
        if not held:
            continue
        place = f"{name}." if name else ""
        names = tuple(place + key for key in held)
        # Biases begin at zero, and what belongs to no input says nothing of the way through the layers.
        shown = [one for one in held.values() if one.ndim > 1] or list(held.values())
        grads = [one.grad for one in shown if one.grad is not None]
        found.append(
            LayerGradient(
                layer=name,
                type=type(part).__name__,
                depth=_depth(name, made.order),
                tensors=names,
                weight=_norm([one.detach() for one in shown]),
                gradient=_norm(grads) if grads else math.nan,
                matrix=any(one.ndim > 1 for one in held.values()),
                frozen=all(one in own and not own[one].requires_grad for one in names),
            )
        )
    found.sort(key=lambda one: one.depth)
    return _aged(made.probe.module, _nudged(made, found))


def _nudged(made: Backward, layers: list[LayerGradient]) -> tuple[LayerGradient, ...]:
    """Tell what is cut off from what is not used: move the weights without a gradient, and see what happens."""
    silent = [one for one in layers if not one.gradient > 0]
    if not silent:
        return tuple(layers)
    few = replace(made.probe, batches=[made.probe.batches[0].part(slice(0, FEW))])
    try:
        before = few.embeddings
        length = float((before**2).mean() ** 0.5)

        def moves(chosen: list[LayerGradient]) -> float:
            after = few.with_tensors(_moved(few.module, chosen)).embeddings
            return float(((after - before) ** 2).mean() ** 0.5) / length if length > 0 else math.nan

        if len(silent) > 1 and moves(silent) <= MOVED:
            told = {one.layer: 0.0 for one in silent}
        else:
            told = {one.layer: moves([one]) for one in _some(silent, MOST_NUDGED)}
    except Exception as error:  # changed weights may break a model's own assertions
        made.reasons["moves"] = in_one_line(error)
        return tuple(layers)
    return tuple(replace(one, moves=told.get(one.layer, math.nan)) for one in layers)


def _aged(module: nn.Module, layers: tuple[LayerGradient, ...]) -> tuple[LayerGradient, ...]:
    """Tell of layers that are cut off, or frozen while others are not, whether anybody has trained them."""
    partly = not all(one.frozen for one in layers)

    def fresh(one: LayerGradient) -> bool | None:
        if not (one.cut or (partly and one.frozen)):
            return None
        share = measure_freshness(module.get_submodule(one.layer)).share
        return None if share is None else share >= UNTRAINED

    return tuple(replace(one, fresh=fresh(one)) for one in layers)


def _some(layers: list[LayerGradient], most: int) -> list[LayerGradient]:
    """At most so many, evenly, with both ends."""
    if len(layers) <= most:
        return layers
    return [layers[round(i * (len(layers) - 1) / (most - 1))] for i in range(most)]


def _moved(module: nn.Module, layers: list[LayerGradient]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    moved = {}
    for name in (name for one in layers for name in one.tensors):
        tensor = module.get_parameter(name).detach()
        if tensor.ndim < 2 and any(one.matrix and name in one.tensors for one in layers):
            continue  # the gradient is that of the matrices: a bias may move what they cannot
        size = tensor.square().mean().sqrt().clamp(min=1e-2)
        noise = torch.randn(tensor.shape, generator=generator).to(tensor)
        moved[name] = tensor + NUDGE * size * noise
    return moved


def _depth(name: str, order: dict[str, int]) -> int:
    """When a module ran first; one that does not run itself lends its weights to what it is part of."""
    while name not in order and name:
        name = name.rpartition(".")[0]
    return order.get(name, -1)


def _norm(tensors: list[Tensor]) -> float:
    """Euclidean norm of all numbers; infinite where one is not finite."""
    total = 0.0
    for tensor in tensors:
        values = tensor.coalesce().values() if tensor.is_sparse else tensor
        norm = float(torch.linalg.vector_norm(values.detach()))
        if not 0 < norm < math.inf and values.device.type != "mps":  # squares leave single precision before numbers do
            norm = float(torch.linalg.vector_norm(values.detach(), dtype=torch.float64))
        total += norm**2
    return math.sqrt(total) if math.isfinite(total) else math.inf


@contextlib.contextmanager
def forked(probe: Probe) -> Iterator[None]:
    """Keep torch's random state as it is outside, and what torch would warn of to itself."""
    devices = [probe.device] if probe.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
