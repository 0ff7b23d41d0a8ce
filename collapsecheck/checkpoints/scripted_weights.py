"""The state dict of a TorchScript module, from the record of its pickled objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from collapsecheck.checkpoints.records import Stand
from collapsecheck.checkpoints.scripted_classes import ScriptedClass, is_module_class, original_name
from collapsecheck.checkpoints.stored import StoredTensor
from collapsecheck.errors import NotLoadableError

_DEEPEST = 200
_MOST_MODULES = 200_000
_LONGEST_NAMES = 64 << 20  # characters of the paths of all modules


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedModule:
    """What a scripted or traced module holds: its tensors by name, and the classes of its layers by path.

    `plain` are tensors that are neither parameters nor buffers, such as attributes that are constants.
    """

    tensors: Mapping[str, StoredTensor]
    plain: Mapping[str, StoredTensor]
    layers: Mapping[str, str]


def scripted_weights(root: Any, classes: Mapping[str, ScriptedClass]) -> ScriptedModule:
    """Walk the modules from the root in the order of `named_modules`; one that is tied is there under each name.

    Raises
    ------
    NotLoadableError
        If the root is no module, or the modules are more or deeper than any model's.
    """
    if not _is_module(root):
        raise NotLoadableError("the archive holds no module; save it again with torch.jit.save")
    tensors: dict[str, StoredTensor] = {}
    plain: dict[str, StoredTensor] = {}
    layers: dict[str, str] = {}
    waiting: list[tuple[str, Stand, int]] = [("", root, 0)]
    length = 0
    while waiting:
        name, module, depth = waiting.pop()
        length += len(name)
        if depth > _DEEPEST or len(layers) >= _MOST_MODULES or length > _LONGEST_NAMES:
            raise NotLoadableError(
                "its modules are nested more deeply, or are more, than those of any model; get the file from a source "
                "you trust"
            )
        layers[name] = original_name(module.path)
        prefix = f"{name}." if name else ""
        state = module.state if isinstance(module.state, Mapping) else {}
        own = {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, StoredTensor)}
        known = classes.get(module.path)
        order = tuple(own) if known is None else (*known.parameters, *known.buffers)
        tensors |= {prefix + key: own[key] for key in order if key in own}
        plain |= {prefix + key: value for key, value in own.items() if key not in order}
        inner = [(prefix + key, value) for key, value in state.items() if isinstance(key, str) and _is_module(value)]
        waiting += [(key, value, depth + 1) for key, value in reversed(inner)]
    return ScriptedModule(tensors=tensors, plain=plain, layers=layers)


def _is_module(value: Any) -> bool:
    return isinstance(value, Stand) and is_module_class(value.path)
