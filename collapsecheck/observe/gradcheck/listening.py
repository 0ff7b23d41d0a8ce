"""Hears calls of custom `torch.autograd.Function`s, however they are made."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.autograd import Function

Heard = Callable[[type[Function], tuple[Any, ...], bool], None]
"""Called with the class, the arguments without the context, and whether it is a plain call by autograd."""

# Operators of `torch.library` get a class of this name, with the user's backward in it.
GENERATED = "GeneratedBackwardFor_"
# Torch's own, whatever `apply` is at the moment.
APPLY: Any = inspect.getattr_static(Function, "apply")


def custom_functions() -> list[type[Function]]:
    """Every subclass that exists and is not torch's own."""
    found, waiting = dict.fromkeys(Function.__subclasses__()), list(Function.__subclasses__())
    while waiting:
        for one in waiting.pop().__subclasses__():
            if one not in found:
                found[one] = None
                waiting.append(one)
    return [one for one in found if is_custom(one)]


def is_custom(kind: type[Function]) -> bool:
    """Whether the operation is somebody's own."""
    own = kind.__module__ == "torch" or kind.__module__.startswith(("torch.", "torch_"))
    return not own or kind.__name__.startswith(GENERATED)


class Listener:
    """While attached, `heard` is called before each forward of a custom function.

    `apply` looks up `forward` when it is called, so that one that was bound early is heard too. Classes that are made
    within the forward pass are met in `apply` itself.
    """

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._kept: list[tuple[type[Function], bool, Any]] = []
        self._originals: dict[type[Function], Any] = {}

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Every class gets back exactly what it had."""
        had_apply, kept_apply = "apply" in Function.__dict__, inspect.getattr_static(Function, "apply")
        met = self._met

        def apply(cls: type[Function], *args: Any, **kwargs: Any) -> Any:
            met(cls)
            return kept_apply.__get__(None, cls)(*args, **kwargs)

        try:
            for kind in custom_functions():
                self._met(kind)
            Function.apply = classmethod(apply)
            with _without_checkpointing(), _without_compiling():
                yield
        finally:
            if had_apply:
                Function.apply = kept_apply
            elif "apply" in Function.__dict__:
                del Function.apply
            for kind, had, value in self._kept:
                if had:
                    setattr(kind, "forward", value)  # noqa: B010 - a method is assigned
                else:
                    delattr(kind, "forward")
            self._kept.clear()
            self._originals.clear()

    def _met(self, kind: type[Function]) -> None:
        if kind in self._originals or not is_custom(kind):
            return
        had = "forward" in kind.__dict__
        forward = kind.forward
        forward = getattr(forward, "heard_by_collapsecheck", forward)  # inherited from one that is listened to
        self._originals[kind] = forward
        self._kept.append((kind, had, kind.__dict__.get("forward")))
        heard = self._heard
        alone = _has_setup_context(kind)

        @functools.wraps(forward)
        def listened(*args: Any, **kwargs: Any) -> Any:
            given = args if alone else args[1:]
            context = None if alone else (args[0] if args else None)
            if alone or getattr(type(context), "_forward_cls", None) is kind:
                heard(kind, (*given, *kwargs.values()), not torch._C._are_functorch_transforms_active())
            elif "FunctorchGenerated" in type(context).__name__ or torch._C._are_functorch_transforms_active():
                heard(kind, (), False)
            return forward(*args, **kwargs)

        listened.__dict__["heard_by_collapsecheck"] = forward
        setattr(kind, "forward", staticmethod(listened))  # noqa: B010 - a method is assigned


def _has_setup_context(kind: type[Function]) -> bool:
    return kind.setup_context is not Function.setup_context


@contextlib.contextmanager
def _without_checkpointing() -> Iterator[None]:
    """Let re-entrant checkpoints run what they hold as it is: they would hide whose gradients are wanted."""
    loaded = sys.modules.get("torch.utils.checkpoint")
    kind = getattr(loaded, "CheckpointFunction", None)
    if kind is None:
        yield
        return
    had = kind.__dict__.get("apply")
    kind.apply = staticmethod(lambda run, preserve, *args: run(*args))
    try:
        yield
    finally:
        if had is None:
            del kind.apply
        else:
            kind.apply = had


@contextlib.contextmanager
def _without_compiling() -> Iterator[None]:
    """Run compiled parts as they are written; where nothing was compiled there is nothing to do."""
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def name_of(kind: type[Function]) -> str:
    """Return the name of the class, or of the operator that it was made for."""
    return kind.__name__.removeprefix(GENERATED).removesuffix("_default")


def apply_of(kind: type[Function]) -> Callable[..., Any]:
    """Return torch's own `apply` of a class, which may have one of its own that takes other arguments."""
    bound: Callable[..., Any] = APPLY.__get__(None, kind)
    return bound
