"""What stands in for the objects that a pickle names: lifeless records. Nothing is imported, nothing is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from collapsecheck.checkpoints.stored import StoredTensor

Buffers = Mapping[str, StoredTensor | None]


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that a pickle names: `torch.nn.modules.linear.Linear`. It was not imported."""

    path: str


@dataclass(eq=False, slots=True, kw_only=True)
class Stand:
    """An object that a pickle would have made by calling `path`.

    `arguments` and `keywords` are what it would have been called with, `state` what it would have been given
    afterwards (`__setstate__`), `items` and `pairs` what would have been appended and set. It may contain itself.
    """

    path: str
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    state: Any = None
    items: list[Any] = field(default_factory=list)
    pairs: list[tuple[Any, Any]] = field(default_factory=list)

    def __repr__(self) -> str:  # the generated one would not end where an object contains itself
        return f"Stand({self.path!r})"


@dataclass(eq=False, slots=True, kw_only=True)
class ModuleRecord:
    """A pickled `nn.Module`: its class by name, its tensors and its other attributes; none of its code.

    `attributes` is what the instance's `__dict__` held besides tensors, children and hooks: plain values,
    containers, `Name`s and `Stand`s. `within_itself` names the child that would be one of the modules above, and is
    left out of `children`.
    """

    path: str
    attributes: Mapping[str, Any]
    parameters: Buffers
    buffers: Buffers
    children: Mapping[str, ModuleRecord | None]
    non_persistent: frozenset[str] = frozenset()
    within_itself: str = ""

    def named_modules(self) -> Iterator[tuple[str, ModuleRecord]]:
        """Yield (name, module) as `nn.Module.named_modules` does, "" for this one; each object once."""
        waiting: list[tuple[str, ModuleRecord]] = [("", self)]
        seen: set[int] = set()
        while waiting:
            name, module = waiting.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield name, module
            inner = [(f"{name}.{key}" if name else key, child) for key, child in module.children.items()]
            waiting += [(key, child) for key, child in reversed(inner) if child is not None]

    def state_dict(self) -> dict[str, StoredTensor]:
        """Return the tensors as `nn.Module.state_dict` does: parameters, then persistent buffers, by module."""
        found: dict[str, StoredTensor] = {}
        waiting: list[tuple[str, ModuleRecord, frozenset[int]]] = [("", self, frozenset())]
        while waiting:
            prefix, module, above = waiting.pop()
            if id(module) in above:  # a module within itself
                continue
            for key, held in module.parameters.items():
                if held is not None:
                    found[prefix + key] = held
            for key, held in module.buffers.items():
                if held is not None and key not in module.non_persistent:
                    found[prefix + key] = held
            above = above | {id(module)}
            inner = [(f"{prefix}{key}.", child, above) for key, child in module.children.items() if child is not None]
            waiting += reversed(inner)
        return found
