"""A model in a child process, as an `nn.Module` of this one: batches go over, outputs and what layers do come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from collapsecheck.errors import NotLoadableError, NotMeasuredError, printable
from collapsecheck.models.child.connection import ChildGoneError, Connection
from collapsecheck.models.child.facts import Facts, facts_of
from collapsecheck.models.child.session import Session, Tap, described, tap_of

LOAD_SECONDS = 600.0
BATCH_SECONDS = 900.0


def open_child(way: str, path: Path, key: str = "", *, seconds: float = LOAD_SECONDS) -> ChildModule:
    """Start a child that loads a model by running its code.

    Parameters
    ----------
    way, path, key
        What and how, see `loading.open_model`.
    seconds
        How long loading may take.

    Raises
    ------
    NotLoadableError
        If it cannot be loaded, or the child breaks a rule.
    """
    try:
        connection = Connection()
    except OSError as error:
        raise NotLoadableError(f"its child process cannot be started: {printable(str(error))}") from error
    try:
        request = {"way": way, "path": str(path.resolve()), "key": key, "threads": torch.get_num_threads()}
        connection.ask("load", request, seconds=seconds)
        frame = connection.answer()
        if frame.kind == "error":
            kind, message = described(frame.value)
            raise NotLoadableError(f"loading it in a child process failed: {kind}: {message}".rstrip(": "))
        facts = facts_of(frame)
        if facts is None:
            raise connection.broke("sent an answer of another kind")
    except ChildGoneError as error:
        raise NotLoadableError(f"the model {error}") from error
    except BaseException:
        connection.end()
        raise
    return ChildModule(connection, facts)


class ChildModule(nn.Module):
    """Runs in a child; has no parameters here. Its parts (`Tap`) have the names of the model's layers.

    A batch runs on the device that it is on, and the output comes back to it. Hooks on parts hear what happens in
    the layers of the child, in the same nesting; only the first of a layer's inputs is sent. What the model's code
    does between its layers cannot be heard.
    """

    def __init__(self, connection: Connection, facts: Facts, *, seconds: float = BATCH_SECONDS) -> None:
        super().__init__()
        self.facts = facts
        self.seconds = seconds
        self._session = Session(connection)
        self._names = frozenset(name for name, _ in facts.layers)
        parts: dict[str, nn.Module] = {"": self}
        for name, kind in facts.layers:
            above, _, own = name.rpartition(".")
            parts[name] = tap_of(kind, self._session)
            parts[above]._modules[own] = parts[name]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model of the child on a batch.

        Raises
        ------
        NotMeasuredError
            If the child is gone, or its weights or layers were to be changed here.
        Exception
            What the model raised, as its own type where that is one of Python's.
        """
        first = next((one for one in (*args, *kwargs.values()) if isinstance(one, torch.Tensor)), None)
        if first is None:
            raise NotMeasuredError("runs in a child process, which takes tensors only")
        parts = self._parts()
        try:
            if self.facts.batch is None or not first.ndim or not len(first):
                return self._session.run(parts, _request(args, kwargs, first), first.device, self.seconds)
            return self._in_portions(parts, args, kwargs, first)
        except ChildGoneError as error:
            raise NotMeasuredError(str(error)) from error

    def close(self) -> None:
        """End the child; it also ends with this process, and when nothing refers to it any more."""
        self._session.connection.end()

    def _in_portions(
        self, parts: Mapping[str, nn.Module], args: tuple[Any, ...], kwargs: Mapping[str, Any], first: torch.Tensor
    ) -> Any:
        """Run as many items at a time as the model takes; where it takes no fewer, the last one is repeated."""
        low, high = self.facts.batch or (1, None)
        items = len(first)
        length = items if high is None else min(items, high)
        outputs = []
        for begin in range(0, items, length):
            own = min(length, items - begin)
            rows = torch.arange(begin, begin + max(own, low), device=first.device).clamp(max=items - 1)
            taken = [_taken(one, rows, items) for one in args]
            named = {name: _taken(one, rows, items) for name, one in kwargs.items()}
            output = self._session.run(parts, _request(taken, named, first), first.device, self.seconds)
            outputs.append((output, len(rows), own))
        return _joined(outputs)

    def _parts(self) -> Mapping[str, nn.Module]:
        parts = dict(self.named_modules(remove_duplicate=False))
        changed = parts.keys() - {""} != self._names or not all(isinstance(parts[name], Tap) for name in self._names)
        if changed or next(self.parameters(), None) is not None or next(self.buffers(), None) is not None:
            raise NotMeasuredError("runs in a child process: its weights and layers cannot be changed from outside")
        return parts


def _request(args: Sequence[Any], kwargs: Mapping[str, Any], first: torch.Tensor) -> dict[str, Any]:
    kind = first.device.type
    cast = str(torch.get_autocast_dtype(kind)).removeprefix("torch.") if torch.is_autocast_enabled(kind) else None
    return {"args": tuple(args), "kwargs": dict(kwargs), "device": str(first.device), "autocast": cast}


def _taken(value: Any, rows: torch.Tensor, items: int) -> Any:
    if isinstance(value, torch.Tensor) and value.ndim and len(value) == items:
        return value[rows.to(value.device)]
    return value


def _joined(outputs: Sequence[tuple[Any, int, int]]) -> Any:
    """Put outputs of portions together, (output, items that ran, items that count) each."""
    first, ran, own = outputs[0]
    if len(outputs) == 1 and ran == own:
        return first
    if isinstance(first, torch.Tensor):
        if all(isinstance(one, torch.Tensor) and one.ndim and len(one) == ran for one, ran, _ in outputs):
            return torch.cat([one[:own] for one, _, own in outputs])
        raise NotMeasuredError(f"takes {ran} items at once, and did not return one row for each of them")
    if isinstance(first, dict) and all(isinstance(one, dict) and one.keys() == first.keys() for one, _, _ in outputs):
        return {name: _joined([(one[name], ran, own) for one, ran, own in outputs]) for name in first}
    if isinstance(first, tuple | list):
        if not all(isinstance(one, tuple | list) and len(one) == len(first) for one, _, _ in outputs):
            raise NotMeasuredError("returned another number of tensors for each portion of a batch")
        return type(first)(_joined([(one[at], ran, own) for one, ran, own in outputs]) for at in range(len(first)))
    return first
