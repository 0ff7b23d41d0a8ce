"""A directory of transformers: configuration and weights to the encoder, and what it could not take."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from collapsecheck.checkpoints import StoredTensor
from collapsecheck.errors import NotLoadableError, printable
from collapsecheck.models.architecture import reproducible
from collapsecheck.models.huggingface.library import quiet
from collapsecheck.models.uninitialised import uninitialised
from collapsecheck.models.weights import Loading
from collapsecheck.user_code import in_one_line

_SPARE = 2**24  # numbers that a model may have beyond four times those of the file
_COMPUTED = ("position_ids", "inv_freq")  # saved by older releases, computed by newer ones


def encoder(library: Any, config: Any, tensors: Mapping[str, Any]) -> tuple[nn.Module, Loading]:
    """Build the model and put the weights in; of an encoder and a decoder the first is taken.

    Raises
    ------
    NotLoadableError
        If the library has no model for this configuration, it is far larger than its weights, or fails.
    """
    made = library.MODEL_MAPPING.get(type(config), None)
    kind = made[0] if isinstance(made, list | tuple) else made
    if kind is None:
        name = printable(str(config.model_type), 60)
        raise NotLoadableError(
            f"transformers has no plain model of type {name}; build it with --model-def FILE:CALLABLE"
        )
    given = {name: value for name, value in tensors.items() if isinstance(value, StoredTensor)}
    if any(not value.is_floating_point and value.dtype not in _WHOLE for value in given.values()):
        raise NotLoadableError("the weights are quantised, which collapsecheck does not run; save the model in float32")
    try:
        with warnings.catch_warnings(), quiet(library), reproducible():
            warnings.simplefilter("ignore")
            _refuse_giants(kind, config, sum(value.numel for value in given.values()))
            model, info = kind.from_pretrained(
                None,
                config=config,
                state_dict={name: value.tensor() for name, value in given.items()},
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except NotLoadableError:
        raise
    except Exception as error:  # the library's own code, on sizes out of a file
        raise NotLoadableError(f"transformers cannot build the model: {in_one_line(error)}") from error
    model = model.float().eval()
    loading = _loading(model, info, given)
    if config.is_encoder_decoder:
        model = model.get_encoder()
        loading = loading.without(("decoder.",), ("decoder.",))
    return _without_new_pooler(model, loading)


def arguments(module: nn.Module) -> frozenset[str]:
    """Names of what the model's forward takes."""
    return frozenset(inspect.signature(module.forward).parameters)


_WHOLE = frozenset(("int64", "int32", "bool"))  # of buffers such as positions


def _refuse_giants(kind: Any, config: Any, held: int) -> None:
    """Build without memory first: sizes that no weights back are an attack, or damage."""
    with torch.device("meta"), uninitialised():
        skeleton = kind(config)
    needed = sum(tensor.numel() for tensor in (*skeleton.parameters(), *skeleton.buffers()))
    if needed > 4 * held + _SPARE:
        raise NotLoadableError(
            f"config.json describes a model of {needed} numbers, the weights hold {held}; they do not belong together"
        )


def _loading(model: Any, info: Mapping[str, Any], given: Mapping[str, Any]) -> Loading:
    """Turn what the library says into ours; weights of heads, which lie beside the model's own, are left out."""
    prefix = f"{model.base_model_prefix}." if model.base_model_prefix else ""
    headed = bool(prefix) and any(name.startswith(prefix) for name in given)
    unexpected = (
        name for name in sorted(info["unexpected_keys"])
        if not name.endswith(_COMPUTED) and not (headed and not name.startswith(prefix))
    )  # fmt: skip
    mismatched = {name: (tuple(of_file), tuple(of_model)) for name, of_file, of_model in info["mismatched_keys"]}
    missing = tuple(sorted(name for name in info["missing_keys"] if name not in mismatched))
    return Loading(
        loaded=max(len(model.state_dict()) - len(missing) - len(mismatched), 0),
        missing=missing,
        unexpected=tuple(unexpected),
        mismatched=mismatched,
    )


def _without_new_pooler(model: Any, loading: Loading) -> tuple[nn.Module, Loading]:
    """Take off a pooler that has no weights in the file: it is new, and nothing needs it."""
    if getattr(model, "pooler", None) is None or not any(name.startswith("pooler.") for name in loading.missing):
        return model, loading
    model.pooler = None
    return model, loading.without(("pooler.",), ())
