"""What was pickled, as the content of a checkpoint: a mapping or a module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collapsecheck.checkpoints.foreign import RESAVE
from collapsecheck.checkpoints.records import ModuleRecord, Stand
from collapsecheck.checkpoints.stored import StoredTensor
from collapsecheck.errors import NotLoadableError, printable


def as_root(value: Any) -> Mapping[Any, Any] | ModuleRecord:
    """Return a mapping or a module; of any other object, its attributes.

    Raises
    ------
    NotLoadableError
        If it is none of these.
    """
    if isinstance(value, Mapping | ModuleRecord):
        return value
    if isinstance(value, StoredTensor):
        raise NotLoadableError(
            "holds one tensor, expected a state dict; for ready vectors use: collapsecheck embeddings FILE"
        )
    if isinstance(value, Stand):
        if isinstance(value.state, Mapping):
            return value.state
        raise NotLoadableError(f"holds a {printable(value.path)}, expected a state dict; {RESAVE}")
    raise NotLoadableError(f"holds a {printable(type(value).__name__)}, expected a state dict; {RESAVE}")


def holds_tensors(content: Any) -> bool:
    """Whether there is a tensor anywhere in mappings, sequences and modules."""
    waiting = [content]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, StoredTensor | ModuleRecord):
            return True
        if isinstance(one, Mapping | list | tuple) and id(one) not in seen:
            seen.add(id(one))
            waiting.extend(one.values() if isinstance(one, Mapping) else one)
    return False
