"""The chosen weights, layer by layer; shapes only, no number is read."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from collapsecheck.checkpoints.state_dicts import StateDict
from collapsecheck.checkpoints.stored import StoredTensor
from collapsecheck.inspection.entries import place_of
from collapsecheck.reports.inspection import Layer, Weights

if TYPE_CHECKING:
    from collapsecheck.inspection.matched import Matched

_NOT_LEARNT = ("running_mean", "running_var", "num_batches_tracked")


def describe_weights(chosen: StateDict, matched: Matched | None) -> Weights:
    """Count the chosen weights."""
    held = _stored(chosen)
    return Weights(
        key=chosen.key,
        tensors=len(held),
        parameters=sum(one.numel for name, one in _once(held).items() if _is_learnt(name, one)),
        bytes=sum(one.nbytes for one in _once(held).values()),
        dtypes=dict(Counter(one.dtype for one in held.values()).most_common()),
        prefixes=matched.prefixes if matched is not None else (),
        added_prefix=matched.added_prefix if matched is not None else "",
    )


def describe_layers(chosen: StateDict, matched: Matched | None) -> tuple[Layer, ...]:
    """Group the chosen weights by what comes before the last dot of their names.

    They are in the order of the model where it is known (safetensors sorts by name), else in that of the file.
    """
    groups: dict[str, dict[str, StoredTensor]] = {}
    held = _stored(chosen)
    once = _once(held)
    for name, one in held.items():
        layer, _, last = name.rpartition(".")
        groups.setdefault(layer, {})[last] = one
    kinds = _kinds(chosen, matched)
    described = [
        Layer(
            name=layer,
            kind=kinds.get(layer),
            tensors={last: (one.dtype, one.shape) for last, one in tensors.items()},
            parameters=sum(
                one.numel
                for last, one in tensors.items()
                if _is_learnt(last, one) and (f"{layer}.{last}" if layer else last) in once
            ),
            bytes=sum(one.nbytes for one in tensors.values()),
        )
        for layer, tensors in groups.items()
    ]
    ranks = {name: rank for rank, name in enumerate(matched.kinds)} if matched is not None else {}
    given = {
        name.rpartition(".")[0]: new.rpartition(".")[0] for name, new in (matched.names if matched else {}).items()
    }
    described.sort(key=lambda layer: ranks.get(given.get(layer.name, ""), len(ranks)))
    return tuple(described)


def _stored(chosen: StateDict) -> dict[str, StoredTensor]:
    return {name: one for name, one in chosen.tensors.items() if isinstance(one, StoredTensor)}


def _once(held: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Return each tensor under the first of its names."""
    first: dict[object, str] = {}
    for name, one in held.items():
        first.setdefault(place_of(one), name)
    return {name: held[name] for name in first.values()}


def _is_learnt(name: str, held: StoredTensor) -> bool:
    return held.is_floating_point and name.rpartition(".")[2] not in _NOT_LEARNT


def _kinds(chosen: StateDict, matched: Matched | None) -> dict[str, str]:
    """Return the class of each layer, by its name in the file: out of a pickled module, or of the model that fits."""
    if chosen.module is not None:
        return {name: one.path.rpartition(".")[2] for name, one in chosen.module.named_modules()}
    if matched is None:
        return {}
    return {
        name.rpartition(".")[0]: matched.kinds[new.rpartition(".")[0]]
        for name, new in matched.names.items()
        if new.rpartition(".")[0] in matched.kinds
    }
