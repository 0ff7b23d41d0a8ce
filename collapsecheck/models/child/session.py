"""One request to a child after the other, and the frames that answer: layers are called as the child calls its own."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from collapsecheck.errors import printable
from collapsecheck.models.child.connection import ChildGoneError, Connection
from collapsecheck.models.child.framing import Frame

_DEEPEST = 100  # layers in one another


class Tap(nn.Module):
    """Stands for a layer of the child's model; its class is called as that one is."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def forward(self, *_: Any) -> Any:
        """Return what the layer returned; its parts are called in the meantime."""
        return self._session.inside(self)


class Session:
    """Runs batches in a child, and follows what happens in its layers."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._taps: list[nn.Module] = []
        self._device = torch.device("cpu")
        self._last: Any = None
        self._depth = 0

    def run(self, parts: Mapping[str, nn.Module], request: dict[str, Any], device: torch.device, seconds: float) -> Any:
        """Return what the model of the child returned; parts with hooks are called on the way.

        Raises
        ------
        ChildGoneError
            If the child did not answer as it must.
        Exception
            What the model raised.
        """
        heard = [name for name, part in parts.items() if name and (part._forward_hooks or part._forward_pre_hooks)]
        self._taps, self._device, self._last, self._depth = [parts[name] for name in heard], device, None, 0
        self.connection.ask("run", {**request, "layers": heard}, seconds=seconds)
        try:
            frame = next(self._frames())
        except _ModelError as error:
            raise error.error from None
        except Exception:  # out of a hook, or out of memory
            self._drain()
            raise
        except BaseException:  # Ctrl-C
            self.connection.broke("was interrupted, and an answer was left")
            raise
        finally:
            self._last = None
        if frame.kind == "error":
            raise raised(frame.value)
        if frame.kind != "output":
            raise self.connection.broke("left a layer that was not entered")
        return _moved(frame.value, device)

    def inside(self, tap: Tap) -> Any:
        """Follow what happens within a layer until it is left."""
        frame = next(self._frames())
        if frame.kind == "error":
            raise _ModelError(raised(frame.value))
        if frame.kind != "leave" or self._tap(frame) is not tap:
            raise self.connection.broke("left layers in another order than they were entered")
        return self._held(frame)

    def _frames(self) -> Iterator[Frame]:
        """Yield what ends a layer or the request; layers that are entered are called."""
        while True:
            frame = self.connection.answer()
            if frame.kind != "enter":
                yield frame
                continue
            tap, held = self._tap(frame), self._held(frame)
            if self._depth == _DEEPEST:
                raise self.connection.broke(f"entered more than {_DEEPEST} layers in one another")
            self._depth += 1
            tap(held)
            self._depth -= 1

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


def tap_of(kind: str, session: Session) -> Tap:
    """Make a part whose class has the name that the child gives."""
    name = kind if kind.isidentifier() and len(kind) < 100 else "Layer"
    made: Tap = type(name, (Tap,), {"__module__": __name__})(session)
    return made


def described(told: Any) -> tuple[str, str]:
    """Return type and message of an error that a child sent, safe to show."""
    held = told if isinstance(told, dict) else {}
    return printable(str(held.get("type")), 80), printable(str(held.get("message") or ""))


def raised(told: Any) -> Exception:
    """Return what to raise for an error in the child: by its own type where Python has one of that name."""
    name, message = described(told)
    if isinstance(told, dict) and told.get("memory") is True:
        return MemoryError(f"out of memory in the child process: {message}")
    kind = getattr(builtins, name, None) if name.isidentifier() else None
    if kind in (ValueError, TypeError, RuntimeError, IndexError, KeyError, AttributeError, NotImplementedError):
        made: Exception = kind(message)
        return made
    return RuntimeError(f"{name}: {message}")


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: _moved(inner, device) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_moved(inner, device) for inner in value)
    return value
