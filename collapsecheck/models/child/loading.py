"""In the child: a model out of its file, by running the code that is in it or that it names."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from collapsecheck.models.classifier import is_weighted_leaf


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A model that runs.

    `batch` are the smallest and the largest number of items that it takes at once, None where the file does not say.
    `layers` are those of its parts whose calls can be listened to, by their names.
    """

    model: nn.Module
    batch: tuple[int, int | None] | None
    layers: Mapping[str, nn.Module]


def open_model(way: str, path: Path, key: str) -> Opened:
    """Load a model and make it ready to run.

    Parameters
    ----------
    way
        `torchscript`, `torch-export`, `plain-pickle`; anything else is a file of torch.save.
    key
        Dotted path of the module within what was pickled, "" for all of it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and says so each time
        if way == "torch-export":
            return _exported(path)
        if way == "torchscript":
            load: Any = torch.jit.load  # without types in some releases of torch
            return Opened(model=_ready(load(str(path), map_location="cpu")), batch=None, layers={})
        if way == "plain-pickle":
            with path.open("rb") as file:
                content = pickle.load(file)  # noqa: S301 - the user asked for it, and this is the child
        else:
            content = torch.load(path, map_location="cpu", weights_only=False)
    module = _at(content, key)
    if not isinstance(module, nn.Module):
        raise TypeError(f"the pickled {type(module).__name__} is no torch.nn.Module")
    return Opened(model=_ready(module), batch=None, layers=dict(list(module.named_modules())[1:]))


def facts(opened: Opened) -> dict[str, Any]:
    """Tell what the parent has to know of a model: plain values only."""
    model = opened.model
    first = next(filter(is_weighted_leaf, model.modules()), None)
    pictures = (one.in_channels for one in model.modules() if isinstance(one, nn.Conv2d))
    return {
        "type": getattr(model, "original_name", None) or type(model).__name__,
        "parameters": sum(one.numel() for one in model.parameters()),
        "batch": list(opened.batch) if opened.batch else None,
        "layers": [[name, type(part).__name__] for name, part in opened.layers.items()],
        "channels": next(pictures, 0) or None,
        "sound_channels": first.in_channels or None if isinstance(first, nn.Conv1d) else None,
        "token_ids": isinstance(first, nn.Embedding | nn.EmbeddingBag),
    }


def _ready(model: nn.Module) -> nn.Module:
    model.eval()
    if any(one.is_floating_point() and one.dtype != torch.float32 for one in _tensors(model)):
        model.float()
    return model


def _tensors(model: nn.Module) -> Iterator[torch.Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _exported(path: Path) -> Opened:
    program = torch.export.load(str(path))
    batch = _batch_sizes(program)
    return Opened(model=program.module(), batch=batch, layers={})


def _batch_sizes(program: torch.export.ExportedProgram) -> tuple[int, int | None] | None:
    """Return what the first axis of the input may be; a program keeps the sizes of the example that made it."""
    wanted = set(program.graph_signature.user_inputs)
    shapes = []
    for node in program.graph.nodes:
        value = node.meta.get("val") if node.op == "placeholder" and node.name in wanted else None
        if isinstance(value, torch.Tensor):
            shapes.append(value.shape)
    if not shapes or not shapes[0]:
        return None
    first: Any = shapes[0][0]  # a number, or a symbol
    if isinstance(first, int):
        return first, first
    bounds = program.range_constraints.get(first.node.expr)
    if bounds is None:
        return None
    low, high = bounds.lower, bounds.upper
    return (int(low) if low.is_Integer else 1), (int(high) if high.is_Integer and high < 1 << 31 else None)


def _at(content: Any, key: str) -> Any:
    """Follow a dotted path through mappings whose own names may have dots; None where there is nothing."""
    if not key:
        return content
    if not isinstance(content, Mapping):
        return None
    if key in content:
        return content[key]
    parts = key.split(".")
    for cut in range(1, len(parts)):
        name = ".".join(parts[:cut])
        found = _at(content[name], ".".join(parts[cut:])) if name in content else None
        if found is not None:
            return found
    return None
