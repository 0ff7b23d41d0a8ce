"""`config.json` to a configuration of the transformers library, without what would run or download anything."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from collapsecheck.errors import NotLoadableError, printable
from collapsecheck.user_code import in_one_line

# Entries that name code or files elsewhere, or change what a model returns.
_LEFT_OUT = frozenset((
    "auto_map", "custom_pipelines", "trust_remote_code", "attn_implementation", "_attn_implementation",
    "_attn_implementation_internal", "_attn_implementation_autoset", "_experts_implementation",
    "experts_implementation", "use_pretrained_backbone", "backbone_kwargs", "use_kernels",
    "output_attentions", "output_hidden_states", "return_dict", "use_return_dict", "torchscript",
    "gradient_checkpointing", "dtype", "torch_dtype", "_name_or_path", "use_cache",
))  # fmt: skip
_SIZE = re.compile(r"size|dim|width|position|layers|heads|d_model|d_ff|n_embd|n_inner|depth|blocks|experts|channels")
_COUNT = re.compile(r"layers|depth|blocks|stages")
_MOST, _MOST_LAYERS = 2**24, 1024
_DEEPEST = 20


def configuration(library: Any, config: Mapping[str, Any]) -> Any:
    """Return the configuration object.

    Raises
    ------
    NotLoadableError
        If the model is of no type that the library has, quantised, or of absurd sizes.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in library.CONFIG_MAPPING:
        own = "whose code lies beside its weights, which collapsecheck never runs" if "auto_map" in config else ""
        raise NotLoadableError(
            f"config.json is of a model of type {printable(str(kind), 60)}{', ' + own if own else ''}, which "
            f"transformers {library.__version__} does not have; build it with --model-def FILE:CALLABLE"
        )
    if config.get("quantization_config") is not None:
        raise NotLoadableError(
            "the weights are quantised (config.json has a quantization_config), which collapsecheck does not run; "
            "save the model in float16 or float32"
        )
    for name, value in _numbers(config, _DEEPEST):
        if value > (_MOST_LAYERS if _COUNT.search(name) else _MOST):
            raise NotLoadableError(f"config.json says {printable(name, 60)} = {value}, more than any model has")
    try:
        made = library.CONFIG_MAPPING[kind].from_dict(_cleaned(config, _DEEPEST))
    except Exception as error:  # the library checks each model's entries in its own way
        raise NotLoadableError(f"transformers refuses its config.json: {in_one_line(error)}") from error
    made.use_cache = False
    return made


def _cleaned(value: Any, depth: int) -> Any:
    if depth and isinstance(value, Mapping):
        return {str(name): _cleaned(inner, depth - 1) for name, inner in value.items() if name not in _LEFT_OUT}
    return value


def _numbers(value: Any, depth: int, name: str = "") -> Iterator[tuple[str, int]]:
    """Yield the whole numbers that are sizes, with their names."""
    if isinstance(value, Mapping) and depth:
        for key, inner in value.items():
            yield from _numbers(inner, depth - 1, str(key))
    elif isinstance(value, list) and depth:
        for inner in value:
            yield from _numbers(inner, depth - 1, name)
    elif isinstance(value, int) and not isinstance(value, bool) and _SIZE.search(name):
        yield name, value
