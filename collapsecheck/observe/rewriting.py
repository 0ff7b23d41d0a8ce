"""The same model with some of the calls that its code makes replaced by others, wherever they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

from collapsecheck.observe.probe import Probe

Rule = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""Called with each function of torch that a forward calls, and its arguments; returns what is taken for its result."""


def rewritten(probe: Probe, rule: Rule) -> Probe:
    """The probe with a copy of its model in which calls of torch's functions go through a rule.

    Functions that modules of torch call, as `nn.BatchNorm2d` does `F.batch_norm`, are among them.
    """
    module = probe.copy()
    rewrite(module, rule)
    return probe.on(module)


def rewrite(module: nn.Module, rule: Rule) -> None:
    """Let the calls of a model's forward go through a rule from now on; not to be done to the user's own model."""
    entered: list[_Calls] = []

    def enter(*_: Any) -> None:
        entered.append(_Calls(rule))
        entered[-1].__enter__()  # type: ignore[no-untyped-call]

    def leave(*_: Any) -> None:
        entered.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]

    module.register_forward_pre_hook(enter)
    module.register_forward_hook(leave, always_call=True)


class _Calls(TorchFunctionMode):
    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self._rule = rule

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        return self._rule(func, args, dict(kwargs or {}))
