"""A model in a child process, as an `nn.Module` of this one: batches go over, outputs and what layers do come back."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from collapsecheck.errors import NotLoadableError, NotMeasuredError, printable
from collapsecheck.models.child.connection import ChildGoneError, Connection
from collapsecheck.models.child.framing import Frame

LOAD_SECONDS = 600.0
BATCH_SECONDS = 900.0
_MOST_LAYERS = 100_000
_LONGEST_NAME = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a child says of its model; checked for its form, not for its truth.

    `batch` are the smallest and the largest number of items that it takes at once; `layers` are (name, class);
    `channels`, `sound_channels` and `token_ids` are those of `datasets.model_input.ModelInput`; `held` are the limits
    that hold for the child, in words.
    """

    type: str
    parameters: int
    batch: tuple[int, int | None] | None
    layers: tuple[tuple[str, str], ...]
    channels: int | None
    sound_channels: int | None
    token_ids: bool
    held: tuple[str, ...]


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
            raise NotLoadableError(f"loading it in a child process failed: {_failure(frame.value, connection)}")
        facts = _facts(frame)
        if facts is None:
            raise connection.broke("sent an answer of another kind")
    except ChildGoneError as error:
        raise NotLoadableError(f"the model {error}") from error
    except NotLoadableError:
        connection.end()
        raise
    return ChildModule(connection, facts)


class ChildModule(nn.Module):
    """Runs in a child; has no parameters here. Its parts (`Tap`) have the names of the model's layers.

    A batch runs on the device that it is on, and the output comes back to it. Hooks on parts hear what happens in
    the layers of the child, in the same nesting; only the first of a layer's inputs is sent.
    """

    def __init__(self, connection: Connection, facts: Facts, *, seconds: float = BATCH_SECONDS) -> None:
        super().__init__()
        self.facts = facts
        self.seconds = seconds
        self._session = _Session(connection)
        self._names = tuple(name for name, _ in facts.layers)
        parts: dict[str, nn.Module] = {"": self}
        for name, kind in sorted(facts.layers, key=lambda layer: layer[0].count(".")):
            above, _, own = name.rpartition(".")
            parts[name] = _tap(kind, self._session)
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
            if self.facts.batch is None or not first.ndim:
                return self._session.run(parts, self._request(args, kwargs, first), first.device, self.seconds)
            return self._in_portions(parts, args, kwargs, first)
        except ChildGoneError as error:
            raise NotMeasuredError(str(error)) from error

    def _in_portions(
        self, parts: Mapping[str, nn.Module], args: tuple[Any, ...], kwargs: Mapping[str, Any], first: torch.Tensor
    ) -> Any:
        """Run as many items at a time as the model takes; where it takes no fewer, the last one is repeated."""
        low, high = self.facts.batch or (1, None)
        items = len(first)
        length = min(items, high) if high is not None else items
        outputs = []
        for begin in range(0, items, max(length, 1)):
            own = min(length, items - begin)
            rows = torch.arange(begin, begin + max(own, low), device=first.device).clamp(max=items - 1)
            taken = [_taken(one, rows, items) for one in args]
            named = {name: _taken(one, rows, items) for name, one in kwargs.items()}
            output = self._session.run(parts, self._request(taken, named, first), first.device, self.seconds)
            outputs.append((output, len(rows), own))
        return _joined(outputs)

    def _parts(self) -> Mapping[str, nn.Module]:
        parts = dict(self.named_modules(remove_duplicate=False))
        changed = set(parts) != {"", *self._names} or not all(isinstance(parts[name], Tap) for name in self._names)
        if changed or next(self.parameters(), None) is not None or next(self.buffers(), None) is not None:
            raise NotMeasuredError("runs in a child process: its weights and layers cannot be changed from outside")
        return parts

    def _request(self, args: Sequence[Any], kwargs: Mapping[str, Any], first: torch.Tensor) -> dict[str, Any]:
        kind = first.device.type
        cast = str(torch.get_autocast_dtype(kind)).removeprefix("torch.") if torch.is_autocast_enabled(kind) else None
        return {"args": tuple(args), "kwargs": dict(kwargs), "device": str(first.device), "autocast": cast}


class Tap(nn.Module):
    """Stands for a layer of the child's model; its class is called as that one is."""

    def __init__(self, session: _Session) -> None:
        super().__init__()
        self._session = session

    def forward(self, *_: Any) -> Any:
        """Return what the layer returned; its parts are called in the meantime."""
        return self._session.inside(self)


class _Session:
    """One request, and the frames that answer it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._taps: list[nn.Module] = []
        self._device = torch.device("cpu")
        self._last: Any = None

    def run(self, parts: Mapping[str, nn.Module], request: dict[str, Any], device: torch.device, seconds: float) -> Any:
        heard = [name for name, part in parts.items() if name and (part._forward_hooks or part._forward_pre_hooks)]
        self._taps, self._device, self._last = [parts[name] for name in heard], device, None
        self.connection.ask("run", {**request, "layers": heard}, seconds=seconds)
        finished = False
        try:
            for frame in self._frames():
                if frame.kind == "output":
                    finished = True
                    return _moved(frame.value, device)
                if frame.kind == "error":
                    finished = True
                    raise _raised(frame.value)
            raise self.connection.broke("left a layer that was not entered")
        except _ModelError as error:
            finished = True
            raise error.error from None
        finally:
            if not finished:
                self._drain()

    def inside(self, tap: Tap) -> Any:
        """Follow what happens within a layer until it is left."""
        for frame in self._frames():
            if frame.kind == "error":
                raise _ModelError(_raised(frame.value))
            if frame.kind == "leave" and self._tap(frame) is tap:
                return self._held(frame)
            raise self.connection.broke("left layers in another order than they were entered")
        return None

    def _frames(self) -> Iterator[Frame]:
        """Yield what ends a layer or the request; layers that are entered are called."""
        while True:
            frame = self.connection.answer()
            if frame.kind != "enter":
                yield frame
            else:
                self._tap(frame)(self._held(frame))

    def _tap(self, frame: Frame) -> nn.Module:
        number = frame.value.get("layer") if isinstance(frame.value, dict) else None
        if type(number) is not int or not 0 <= number < len(self._taps):
            raise self.connection.broke("sent the output of a layer that was not asked for")
        return self._taps[number]

    def _held(self, frame: Frame) -> Any:
        if frame.value.get("same") is not True:
            self._last = _moved(frame.value.get("held"), self._device)
        return self._last

    def _drain(self) -> None:
        """Take in what is left of an answer that nobody wants any more, or the next one could not be told from it."""
        try:
            while self.connection.answer().kind not in ("output", "error"):
                continue
        except ChildGoneError:
            return


class _ModelError(Exception):
    """Carries what the model raised out of the layers that are being followed."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def _tap(kind: str, session: _Session) -> Tap:
    name = kind if kind.isidentifier() and len(kind) < 100 else "Layer"
    made: Tap = type(name, (Tap,), {"__module__": __name__})(session)
    return made


def _taken(value: Any, rows: torch.Tensor, items: int) -> Any:
    if isinstance(value, torch.Tensor) and value.ndim and len(value) == items:
        return value[rows.to(value.device)]
    return value


def _joined(outputs: Sequence[tuple[Any, int, int]]) -> Any:
    """Put outputs of portions together, (output, items that ran, items that count) each."""
    first, ran, own = outputs[0]
    if isinstance(first, torch.Tensor):
        if all(isinstance(one, torch.Tensor) and one.ndim and len(one) == ran for one, ran, _ in outputs):
            return torch.cat([one[:own] for one, _, own in outputs])
        if len(outputs) == 1 and ran == own:
            return first
        raise NotMeasuredError(
            f"takes {ran} items at once and returned no row for each of them; run it with --batch-size {ran}"
        )
    if isinstance(first, dict):
        return {name: _joined([(one[name], ran, own) for one, ran, own in outputs]) for name in first}
    if isinstance(first, tuple | list):
        return type(first)(_joined([(one[at], ran, own) for one, ran, own in outputs]) for at in range(len(first)))
    return first


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: _moved(inner, device) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_moved(inner, device) for inner in value)
    return value


def _raised(value: Any) -> Exception:
    """Return what to raise for an error in the child: by its own type where Python has one of that name."""
    told = value if isinstance(value, dict) else {}
    name, message = printable(str(told.get("type")), 80), printable(str(told.get("message")))
    if told.get("memory") is True:
        return MemoryError(f"out of memory in the child process: {message}")
    kind = getattr(builtins, name, None) if name.isidentifier() else None
    if isinstance(kind, type) and issubclass(kind, ValueError | TypeError | RuntimeError | LookupError | AttributeError):
        return kind(message) if not issubclass(kind, UnicodeError) else ValueError(message)
    return RuntimeError(f"{name}: {message}")


def _failure(value: Any, connection: Connection) -> str:  # noqa: ARG001
    told = value if isinstance(value, dict) else {}
    message = printable(str(told.get("message") or ""))
    return f"{printable(str(told.get('type')), 80)}: {message}" if message else printable(str(told.get("type")), 80)


def _facts(frame: Frame) -> Facts | None:
    """Return what the child says of its model, None if that has not the form that it must have."""
    told = frame.value
    if frame.kind != "ready" or not isinstance(told, dict):
        return None
    layers = told.get("layers")
    if not isinstance(layers, list) or len(layers) > _MOST_LAYERS:
        return None
    names: set[str] = {""}
    for layer in layers:
        if not (isinstance(layer, list) and len(layer) == 2 and all(isinstance(one, str) for one in layer)):
            return None
        name = layer[0]
        if not name or len(name) > _LONGEST_NAME or name in names or name.rpartition(".")[0] not in names:
            return None
        names.add(name)
    batch = told.get("batch")
    if batch is not None and not (
        isinstance(batch, list)
        and len(batch) == 2
        and type(batch[0]) is int
        and (batch[1] is None or (type(batch[1]) is int and max(batch[0], 1) <= batch[1]))
        and 0 <= batch[0] <= 1 << 20
    ):
        return None
    held = told.get("held")
    return Facts(
        type=printable(str(told.get("type")), 100),
        parameters=_number(told.get("parameters")) or 0,
        batch=None if batch is None else (batch[0], batch[1]),
        layers=tuple((name, kind) for name, kind in layers),
        channels=_number(told.get("channels")),
        sound_channels=_number(told.get("sound_channels")),
        token_ids=told.get("token_ids") is True,
        held=tuple(printable(str(one), 60) for one in held[:10]) if isinstance(held, list) else (),
    )


def _number(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 48 else None
