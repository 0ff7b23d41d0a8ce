"""Weights into a module: what fits is loaded, what does not is listed."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice, zip_longest
from typing import Any

import torch
from torch import nn

from collapsecheck.checkpoints import StoredTensor
from collapsecheck.checkpoints.state_dicts import Found
from collapsecheck.errors import NotLoadableError, printable
from collapsecheck.recognition.alignment import Shape, Shapes, fits, is_counter, is_foreign, stored_shape
from collapsecheck.recognition.fitting import Fit
from collapsecheck.user_code import in_one_line

_LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """What became of the names: `loaded` counts those in use, `mismatched` has both shapes by name."""

    loaded: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: Mapping[str, tuple[Shape, Shape]]

    @property
    def complete(self) -> bool:
        """Whether nothing is left over on either side."""
        return not (self.missing or self.unexpected or self.mismatched)

    def without(self, optional: tuple[str, ...], ignorable: tuple[str, ...]) -> Loading:
        """Leave out missing names that begin with one of `optional`, and unexpected ones with one of `ignorable`."""
        return replace(
            self,
            missing=tuple(name for name in self.missing if not name.startswith(optional)),
            unexpected=tuple(name for name in self.unexpected if not name.startswith(ignorable)),
        )


def shape_of(value: object) -> Shape:
    """Return the shape of an entry of a module's state dict."""
    if not isinstance(value, torch.Tensor) or nn.parameter.is_lazy(value):
        return None
    return tuple(value.shape)


def expected_shapes(module: nn.Module) -> Shapes:
    """Shapes of the parameters and buffers that a module saves, by name."""
    return {name: shape_of(value) for name, value in module.state_dict().items()}


def load_weights(module: nn.Module, fit: Fit) -> Loading:
    """Put the weights that fit into the module; its types stay.

    The tensors of the file take the place of the module's own, they are not copied: the memory of a large file
    stays mapped, and what the module was initialised with is freed.

    Raises
    ------
    NotLoadableError
        If a module refuses weights that have the right name and shape.
    """
    own = module.state_dict(keep_vars=True)
    expected = {name: shape_of(value) for name, value in own.items()}
    chosen: OrderedDict[str, Any] = OrderedDict()
    mismatched: dict[str, tuple[Shape, Shape]] = {}
    for old, value in fit.weights.tensors.items():
        name, shape = fit.alignment.names[old], stored_shape(value)
        if name not in expected:
            if not is_foreign(name):
                chosen[name] = _read(value, None)
        elif fits(shape, expected[name]):
            chosen[name] = _read(value, own[name])
        else:
            mismatched[name] = (shape, expected[name])
    versions = _versions(module, fit, all(name in expected for name in chosen))
    if versions is not None:
        chosen._metadata = versions  # type: ignore[attr-defined]  # where load_state_dict looks for it
    lazy = any(nn.parameter.is_lazy(value) for value in own.values())
    try:
        result = module.load_state_dict(chosen, strict=False, assign=not lazy)
    except Exception as error:  # modules run their own code here
        raise NotLoadableError(f"the model refused the weights: {in_one_line(error)}") from error
    if not lazy:
        _tie_again(module, own)
    absent = [name for name in result.missing_keys if name not in mismatched]
    missing = [name for name in absent if not is_counter(name)]
    weights = [name for name in expected if not is_counter(name)]
    return Loading(
        loaded=len(weights) - len(missing) - sum(not is_counter(name) for name in mismatched),
        missing=tuple(missing),
        unexpected=tuple(result.unexpected_keys),
        mismatched=mismatched,
    )


def describe_differences(loading: Loading, limit: int = _LISTED) -> str:
    """Name the first keys that differ, each kind in turn, and count them all."""
    mismatched = [
        f"{printable(name)} has shape {_shown(given)} in the file and {_shown(wanted)} in the model"
        for name, (given, wanted) in loading.mismatched.items()
    ]
    missing = [f"{printable(name)} is missing in the file" for name in loading.missing]
    unexpected = [f"{printable(name)} is not in the model" for name in loading.unexpected]
    in_turn = (text for text in chain(*zip_longest(mismatched, missing, unexpected)) if text)
    return (
        f"{len(missing)} missing, {len(unexpected)} unexpected and {len(mismatched)} wrongly shaped keys "
        f"({', '.join(islice(in_turn, limit))}{', …' if _total(loading) > limit else ''})"
    )


def describe_keys(found: Found, limit: int = _LISTED) -> str:
    """Show the first weights of a checkpoint with their shapes."""
    first = found.usable[0]
    shown = [f"{printable(name, 80)} {_shown(stored_shape(value))}" for name, value in first.tensors.items()]
    return ", ".join(shown[:limit]) + (", …" if len(shown) > limit else "")


def _read(value: Any, own: Any) -> Any:
    """Read a tensor of the file, in the type that the module has it in."""
    if not isinstance(value, StoredTensor):
        return value  # extra state
    tensor = value.tensor()
    if isinstance(own, torch.Tensor) and not nn.parameter.is_lazy(own) and own.dtype != tensor.dtype:
        return tensor.to(own.dtype)
    return tensor


def _tie_again(module: nn.Module, before: Mapping[str, Any]) -> None:
    """Let parameters that were one object be one again: assigning gave each name a tensor of its own."""
    names: dict[int, list[str]] = defaultdict(list)
    for name, value in before.items():
        if isinstance(value, nn.Parameter):
            names[id(value)].append(name)
    after = module.state_dict(keep_vars=True)
    for tied in names.values():
        last = after[tied[-1]]  # where copies are made one by one, the last one stays
        for name in tied[:-1]:
            if after[name] is not last:
                path, _, attribute = name.rpartition(".")
                setattr(module.get_submodule(path), attribute, last)


def _versions(module: nn.Module, fit: Fit, all_known: bool) -> Mapping[str, Mapping[str, Any]] | None:
    """Return the versions of the saved modules; some modules convert, or refuse, weights of older ones.

    safetensors loses them: weights whose names are all known are then of this version, others are treated
    as old ones, which lets the modules rename them.
    """
    own: Mapping[str, Mapping[str, Any]] = getattr(module.state_dict(), "_metadata", {})
    if fit.weights.versions is None or fit.alignment.by_table:
        return own if all_known else None
    rename = fit.alignment.rename
    return {rename(f"{name}." if name else "").removesuffix("."): notes for name, notes in fit.weights.versions.items()}


def _total(loading: Loading) -> int:
    return len(loading.missing) + len(loading.unexpected) + len(loading.mismatched)


def _shown(shape: Shape) -> str:
    return "×".join(map(str, shape or ())) or "scalar"
