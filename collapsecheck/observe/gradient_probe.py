"""The gradient of an objective at every layer, and what belongs to it: what is cut off, dead, frozen, never trained."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from collapsecheck.datasets.inputs import count
from collapsecheck.models.freshness import UNTRAINED, measure_freshness
from collapsecheck.objectives import NotComputable, Objective
from collapsecheck.objectives.losses.spread import Spread
from collapsecheck.observe import NotObservable
from collapsecheck.observe.backward import Backward, eager, forked, run
from collapsecheck.observe.gradients import FEW, MOVED, Gradients, LayerGradient
from collapsecheck.observe.probe import Probe
from collapsecheck.observe.sensitivity import per_item_similarity, sensitivity
from collapsecheck.user_code import in_one_line

# How far weights are moved to see whether the embedding depends on them: so little revives no dead unit.
NUDGE = 1e-2
# Layers that are nudged one by one; more of them are only nudged together.
MOST_NUDGED = 12


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
