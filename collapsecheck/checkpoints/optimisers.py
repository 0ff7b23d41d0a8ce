"""Optimisers in a checkpoint: which kind, with which settings, and which parameters have state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from collapsecheck.checkpoints.optimiser_kinds import kind_of
from collapsecheck.checkpoints.plain_values import number, plain
from collapsecheck.checkpoints.records import ModuleRecord, Stand
from collapsecheck.checkpoints.stored import StoredTensor

_DEPTH = 5
_MOST_VISITED = 10_000
_MOST_GROUPS = 50  # whose settings are kept
_MOST_STEPS = 2000  # counters that are read
_MOST_OPTIMISERS = 20
_COUNTERS = ("num_batches_tracked", "running_mean", "running_var")
_WHOLE = ("exp_avg", "exp_avg_sq", "momentum_buffer", "square_avg")  # as large as the parameter
_FACTORS = ("_row", "_col", "row_var", "col_var")  # sums over rows and columns, as Adafactor keeps them

Id = int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Parameters with settings of their own: `settings` are plain values such as `lr`, as far as they were kept."""

    parameters: int
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimiser:
    """What `Optimizer.state_dict` left in a checkpoint.

    `key` is its dotted path, `kind` what its settings look like ("AdamW", or several that look alike), None if like
    nothing that is known. `steps` are the smallest and the largest count of updates over the parameters. Ids are
    numbers in the order of parameters, or names where the file has them; `names` tells the parameters by id, and is
    empty where counts and shapes do not agree with the weights. Parameters `without_state` never had a gradient,
    if the kind keeps state.
    """

    key: str
    kind: str | None
    groups: tuple[Group, ...]
    group_count: int
    parameters: int
    with_state: int
    without_state: tuple[Id, ...]
    kept: tuple[str, ...]  # what an entry of the state holds: step, exp_avg, ...
    steps: tuple[float, float] | None
    keeps_state: bool
    names: Mapping[Id, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOptimiser:
    """An optimiser as it is in the file: ids of the parameters by group, and the entries by id."""

    key: str
    path: str  # of its class, "" where only its state was saved
    groups: tuple[Mapping[Any, Any], ...]
    ids: tuple[tuple[Id, ...], ...]
    state: Mapping[Id, Mapping[Any, Any]]


def find_optimisers(content: Any) -> tuple[StoredOptimiser, ...]:
    """Find whatever has `param_groups` and `state` in nested content, in the order in which it is there.

    That is the root of an `optimizer.pt`, an entry `optimizer`, Lightning's list `optimizer_states`, or a mapping
    of optimisers.
    """
    found: list[StoredOptimiser] = []
    for key, path, held in _mappings(content):
        groups = held.get("param_groups")
        if not isinstance(groups, list | tuple) or not groups:
            continue
        kept = tuple(group for group in groups if isinstance(group, Mapping))
        ids = tuple(_ids(group.get("params")) for group in kept)
        state = held.get("state")
        entries = {
            one: entry
            for one, entry in (state.items() if isinstance(state, Mapping) else ())
            if isinstance(one, int | str) and isinstance(entry, Mapping)
        }
        if kept:
            found.append(StoredOptimiser(key=key, path=path, groups=kept, ids=ids, state=entries))
        if len(found) >= _MOST_OPTIMISERS:
            break
    return tuple(found)


def read_optimiser(stored: StoredOptimiser, weights: Mapping[str, Any]) -> Optimiser:
    """Summarise one; reads no more than the settings and the counters of steps.

    Parameters
    ----------
    stored
        As `find_optimisers` gave it.
    weights
        The tensors of the model by name, to tell the parameters by; may be empty.
    """
    everyone = [one for ids in stored.ids for one in ids]
    settings = [plain({key: one for key, one in g.items() if key != "params"}) for g in stored.groups[:_MOST_GROUPS]]
    first = next(iter(stored.state.values()), {})
    kept = tuple(name[:80] for name in islice(first, 20) if isinstance(name, str))
    kind = kind_of(stored.path, stored.groups[0], kept)
    counted = islice(stored.state.values(), _MOST_STEPS)
    steps = [count for entry in counted if (count := number(entry.get("step"))) is not None]
    without = tuple(one for one in everyone if not any(_is_state(v) for v in stored.state.get(one, {}).values()))
    return Optimiser(
        key=stored.key,
        kind=kind,
        groups=tuple(Group(parameters=len(ids), settings=one) for ids, one in zip(stored.ids, settings, strict=False)),
        group_count=len(stored.groups),
        parameters=len(everyone),
        with_state=len(everyone) - len(without),
        without_state=without,
        kept=kept,
        steps=(min(steps), max(steps)) if steps else None,
        keeps_state=not (kind is not None and kind.startswith("SGD") and not _has_momentum(stored.groups)),
        names=names_of(stored, weights),
    )


def names_of(stored: StoredOptimiser, weights: Mapping[str, Any]) -> Mapping[Id, str]:
    """Tell which entry belongs to which weight; empty where counts and shapes leave it open.

    Entries are numbered, not named, in the order in which the optimiser got the parameters: that of the model, or
    with two groups that of its matrices and then its vectors, or the other way round (weight decay for the former).
    """
    everyone = [one for ids in stored.ids for one in ids]
    if everyone and all(isinstance(one, str) and one in weights for one in everyone):
        return {one: str(one) for one in everyone}
    names = parameter_names(weights)
    matrices = [name for name in names if len(weights[name].shape) > 1]
    vectors = [name for name in names if len(weights[name].shape) < 2]
    for order in (names, matrices + vectors, vectors + matrices):
        if len(order) != len(everyone) or len(set(everyone)) != len(everyone):
            return {}
        known = [(one, shape) for one in everyone if (shape := shape_of(stored.state.get(one, {}))) is not None]
        given = dict(zip(everyone, order, strict=True))
        if known and all(weights[given[one]].shape == shape for one, shape in known):
            return given
    return {}


def parameter_names(weights: Mapping[str, Any]) -> list[str]:
    """Name the weights that are learnt, tied ones once."""
    names: dict[Any, str] = {}
    for name, held in weights.items():
        if isinstance(held, StoredTensor) and held.is_floating_point and name.rpartition(".")[2] not in _COUNTERS:
            offset = getattr(held, "offset", None)
            place = (getattr(held, "file", None), offset, held.shape) if offset is not None and held.numel else name
            names.setdefault(place, name)
    return list(names.values())


def shape_of(entry: Mapping[Any, Any]) -> tuple[int, ...] | None:
    """Return the shape of a parameter: that of whatever in its entry is no counter; None where nothing tells it."""
    for name in _WHOLE:
        if isinstance(held := entry.get(name), StoredTensor):
            return held.shape
    if any(isinstance(name, str) and name.endswith(_FACTORS) for name in entry):
        return None
    shapes = [held.shape for name, held in entry.items() if isinstance(held, StoredTensor) and name != "step"]
    return max(shapes, key=len, default=None)


def _mappings(content: Any) -> Iterator[tuple[str, str, Mapping[Any, Any]]]:
    """Yield (key, class, mapping) for every mapping that is not weights, each once."""
    waiting: list[tuple[str, Any, int]] = [("", content, _DEPTH)]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST_VISITED:
        key, held, depth = waiting.pop()
        path = ""
        if isinstance(held, Stand):
            path, held = held.path, held.state
        if id(held) in seen or isinstance(held, ModuleRecord):
            continue
        seen.add(id(held))
        inner: list[tuple[str, Any]] = []
        if isinstance(held, Mapping):
            yield key, path, held
            if "param_groups" in held:
                continue
            inner = [(name, one) for name, one in held.items() if isinstance(name, str)]
        elif isinstance(held, list | tuple):
            inner = [(str(index), one) for index, one in enumerate(held[:100])]
        if depth:
            waiting += [
                (f"{key}.{name}" if key else name, one, depth - 1)
                for name, one in reversed(inner)
                if isinstance(one, Mapping | list | tuple | Stand)
            ]


def _ids(given: Any) -> tuple[Id, ...]:
    if not isinstance(given, list | tuple):
        return ()
    return tuple(one for one in given if isinstance(one, int | str))


def _is_state(value: Any) -> bool:
    """Tell what a step leaves behind from a place that was kept free for it."""
    return value is not None and not (isinstance(value, Sequence | Mapping) and not value)


def _has_momentum(groups: Sequence[Mapping[Any, Any]]) -> bool:
    return any(number(group.get("momentum")) for group in groups)
