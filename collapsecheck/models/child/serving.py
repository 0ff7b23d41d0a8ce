"""In the child: requests come in, and answers go out; what happens in layers goes out while it happens.

`load` is answered by `ready`, `run` by `output`, either by `error`. Before an `output`, `enter` and `leave` tell what
goes into a layer and comes out, for those layers that were asked for, nested as the calls are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from collapsecheck.models.child.framing import Frame, encoded, read_frame
from collapsecheck.models.child.loading import Opened, facts, open_model
from collapsecheck.models.readout import out_of_memory


def serve(source: int, target: int, held: Sequence[str]) -> None:
    """Answer requests until the parent closes its end."""
    server = _Server(target)
    while True:
        try:
            frame = read_frame(lambda count: _read(source, count))
        except EOFError:
            return
        server.answer(frame, held)


class _Server:
    def __init__(self, target: int) -> None:
        self._target = target
        self._opened: Opened | None = None
        self._device = torch.device("cpu")
        self._last: tuple[torch.Tensor, int] | None = None  # what was sent last, and its version then

    def answer(self, frame: Frame, held: Sequence[str]) -> None:
        try:
            if frame.kind == "load":
                torch.set_num_threads(frame.value["threads"])  # so that sums are rounded as in the parent
                self._opened = open_model(frame.value["way"], Path(frame.value["path"]), frame.value["key"])
                self._send("ready", {**facts(self._opened), "held": list(held)})
            elif self._opened is not None:
                self._send("output", self._run(self._opened, frame.value))
        except BaseException as error:  # the model's code may raise anything, SystemExit too
            kind, message = type(error).__name__, str(error).strip().partition("\n")[0]
            self._send("error", {"type": kind, "message": message, "memory": out_of_memory(error)})

    def _run(self, opened: Opened, request: Mapping[str, Any]) -> Any:
        device = torch.device(request["device"])
        if device != self._device:
            opened.model.to(device)
            self._device = device
        kind = request["autocast"]
        cast: AbstractContextManager[Any] = nullcontext()
        if kind is not None:
            cast = torch.autocast(device.type, dtype=getattr(torch, kind))
        # Not inference_mode: tensors made there do not know whether they were changed since.
        with torch.no_grad(), cast, self._listening(opened.layers, request["layers"]):
            return opened.model(*_moved(request["args"], device), **_moved(request["kwargs"], device))

    @contextmanager
    def _listening(self, layers: Mapping[str, nn.Module], names: Sequence[str]) -> Iterator[None]:
        handles = []
        try:
            for number, name in enumerate(names):
                part = layers[name]
                handles.append(part.register_forward_pre_hook(self._enter(number), with_kwargs=True))
                handles.append(part.register_forward_hook(self._leave(number)))
            yield
        finally:
            self._last = None
            for handle in handles:
                handle.remove()

    def _enter(self, number: int) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._tell("enter", number, args[0] if args else next(iter(kwargs.values()), None))

        return hook

    def _leave(self, number: int) -> Callable[..., None]:
        def hook(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
            self._tell("leave", number, output)

        return hook

    def _tell(self, kind: str, number: int, value: Any) -> None:
        """Send what goes through a layer, unless it is just what was sent last: most inputs are the output before."""
        if isinstance(value, torch.Tensor) and not value.is_inference():
            if self._last is not None and self._last[0] is value and self._last[1] == value._version:
                self._send(kind, {"layer": number, "same": True, "held": None})
                return
            self._last = value, value._version
        else:
            self._last = None
        self._send(kind, {"layer": number, "same": False, "held": value})

    def _send(self, kind: str, value: Any) -> None:
        for part in encoded(kind, value):
            left = part
            while left:
                left = left[os.write(self._target, left) :]


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: _moved(inner, device) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_moved(inner, device) for inner in value)
    return value


def _read(source: int, count: int) -> bytearray:
    held = bytearray(count)
    view = memoryview(held)
    while view:
        got = os.readv(source, [view])
        if not got:
            raise EOFError
        view = view[got:]
    return held
