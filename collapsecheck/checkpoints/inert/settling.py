"""What the machine recorded becomes content: tensors, arrays, modules, namespaces, and stands for the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from collapsecheck.checkpoints.inert.budget import Budget
from collapsecheck.checkpoints.inert.containers import AttributedDict, RecordedDict, are_plain_keys
from collapsecheck.checkpoints.inert.modules import empty_record, fill, is_module, untangle
from collapsecheck.checkpoints.inert.numbers import is_array, numpy_array
from collapsecheck.checkpoints.inert.tensors import TensorMaker
from collapsecheck.checkpoints.records import ModuleRecord, Stand
from collapsecheck.checkpoints.stored import StoredTensor

_NAMESPACES = frozenset({"argparse.Namespace", "types.SimpleNamespace"})
_SETS = {"builtins.set": set, "builtins.frozenset": frozenset}


class Settling:
    """One walk over recorded content, in which every object is met once however often it is referred to."""

    def __init__(self, maker: TensorMaker, budget: Budget) -> None:
        self._maker = maker
        self._budget = budget
        self._place: dict[int, Any] = {}  # what takes the place of an object, by its id
        self._modules: list[tuple[ModuleRecord, Stand]] = []
        self.interpreted: set[str] = set()  # classes that are more than recorded

    def settle(self, root: Any) -> Any:
        """Return the content; lists and dicts are changed in place.

        Raises
        ------
        NotLoadableError
            If a tensor is not what it declares, or modules are nested endlessly.
        """
        nodes = self._nodes(root)
        self._tuples([node for node in nodes if type(node) is tuple])
        for node in nodes:
            self._update(node)
        for record, stand in self._modules:
            fill(record, stand, self._replaced)
        untangle(record for record, _ in self._modules)
        return self._replaced(root)

    def _nodes(self, root: Any) -> list[Any]:
        """Return every object that holds others, each once, and decide what takes the place of each stand."""
        waiting = [root]
        found: list[Any] = []
        seen: set[int] = set()
        while waiting:
            one = waiting.pop()
            if type(one) not in _HOLDERS or id(one) in seen:
                continue
            seen.add(id(one))
            found.append(one)  # which keeps it, so that its id stays its own
            if type(one) is Stand:
                place = self._place[id(one)] = self._stand(one)
                if isinstance(place, StoredTensor):
                    continue
                if type(place) is ModuleRecord:
                    self._modules.append((place, one))
                    self.interpreted.add(one.path)
            waiting.extend(_parts(one))
        return found

    def _replaced(self, value: Any) -> Any:
        return self._place.get(id(value), value)

    def _stand(self, stand: Stand) -> Any:
        tensor = self._maker.tensor(stand)
        if tensor is not None:
            return tensor
        if is_array(stand):
            return numpy_array(stand, self._budget) or stand
        if is_module(stand):
            return empty_record(stand)
        if stand.path in _NAMESPACES and type(stand.state) is RecordedDict:
            return stand.state
        if stand.path in _SETS and not stand.arguments and are_plain_keys(stand.items):
            return _SETS[stand.path](stand.items)
        if stand.pairs and not stand.items:  # a class of the author's that is a dict
            made = AttributedDict()
            for key, value in stand.pairs:
                made.record(key, value)
            return made
        if stand.items and not stand.pairs and stand.path not in _SETS:  # one that is a list
            return list(stand.items)
        return stand

    def _tuples(self, tuples: list[tuple[Any, ...]]) -> None:
        """Make tuples anew whose parts were replaced, the inner ones first: a tuple holds only older ones."""
        for start in tuples:
            waiting = [start]
            while waiting:
                one = waiting[-1]
                if id(one) in self._place:
                    waiting.pop()
                    continue
                inner = [part for part in one if type(part) is tuple and part and id(part) not in self._place]
                if inner:
                    waiting.extend(inner)
                    continue
                parts = [self._replaced(part) for part in one]
                same = all(new is old for new, old in zip(parts, one, strict=True))
                self._place[id(one)] = one if same else tuple(parts)
                waiting.pop()

    def _update(self, node: Any) -> None:
        if type(node) is list:
            node[:] = map(self._replaced, node)
        elif isinstance(node, RecordedDict):
            self._update_dict(node)
        elif type(node) is Stand:
            place = self._place[id(node)]
            if place is node:
                node.arguments = self._replaced(node.arguments)
                node.state = self._replaced(node.state)
                node.keywords = self._replaced(node.keywords)
                node.items[:] = map(self._replaced, node.items)
                node.pairs[:] = [(key, self._replaced(value)) for key, value in node.pairs]
            elif type(place) is list and place is not node.state:
                place[:] = map(self._replaced, place)
            elif type(place) is AttributedDict and place is not node.state:
                self._update_dict(place)

    def _update_dict(self, held: RecordedDict) -> None:
        for key, value in held.items():
            new = self._replaced(value)
            if new is not value:
                held[key] = new
        if held.has_pairs:
            held.pairs[:] = [(self._replaced(key), self._replaced(value)) for key, value in held.pairs]


_HOLDERS = frozenset({list, tuple, RecordedDict, AttributedDict, Stand})


def _parts(one: Any) -> Iterator[Any]:
    if type(one) is Stand:
        yield one.arguments
        yield one.keywords
        yield one.state
        yield from one.items
        for key, value in one.pairs:
            yield key
            yield value
    elif isinstance(one, RecordedDict):
        yield from one.values()
        if one.has_pairs:
            for key, value in one.pairs:
                yield key
                yield value
        yield getattr(one, "_metadata", None)
    else:
        yield from one
