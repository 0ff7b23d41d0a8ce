"""Chooses the preprocessing from the data, from what the model says about its input and from the options."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean
from typing import Any

import torch

from collapsecheck.datasets.kinds import Items, Pictures, Rows, Texts, UnreadableItemError
from collapsecheck.datasets.layouts import layout_for
from collapsecheck.datasets.model_input import ModelInput, Tokenizer
from collapsecheck.datasets.pictures import GREY_MODES, Mode
from collapsecheck.datasets.published import Published, published_preprocessing
from collapsecheck.datasets.transform import Preprocessing, TransformOptions, along
from collapsecheck.errors import UsageError

TEXTS_MEASURED = 1024  # spread over the items: the longest of them gives the length of all
HEADERS_READ = 256  # spread over the items: a data set mixes grey and colour throughout or not at all


def choose_preprocessing(items: Items, model: ModelInput, options: TransformOptions) -> Preprocessing:
    """Choose what is done to the items.

    torchvision architectures get the preprocessing published with their weights, each part of which an option
    replaces; for other models pixels come to 0..1 at native size. Integer arrays are token ids where the
    model looks up embeddings; bytes with at least two dimensions are pixels; other arrays keep their values.

    Raises
    ------
    UsageError
        If options contradict each other, the data or the model.
    """
    _validate(options)
    if isinstance(items, Pictures):
        return _for_pictures(items, model, options)
    if isinstance(items, Rows):
        return _for_rows(items, model, options)
    if isinstance(items, Texts):
        return _for_texts(items, model, options)
    raise TypeError(f"{type(items).__name__} are neither pictures nor rows nor texts")


def _for_texts(items: Texts, model: ModelInput, options: TransformOptions) -> Preprocessing:
    if options.transform is not None:
        return _by_transform(["texts"], options)
    if model.tokenizer is None:
        raise UsageError(
            "the data are texts, and the model brings no tokenizer along; give --transform FILE_OR_MODULE:CALLABLE, "
            "which makes token ids of equal length of a text (a tensor, or a dict of tensors by argument)"
        )
    if options.given:
        raise UsageError("--size, --mean, --std and --input-scale do not apply to texts")
    tokenizer = model.tokenizer()
    length, cut = _tokens_needed(items, tokenizer)
    words = f"texts as tokens of the model's own tokenizer, filled up to {length}"
    if cut:
        words += f" and cut there ({cut:.0%} of the texts are longer)"
    return Preprocessing(description=words, given=False, tokenizer=tokenizer, tokens=length)


def _tokens_needed(items: Texts, tokenizer: Tokenizer) -> tuple[int, float]:
    """How many tokens the longest of some texts has, and the share of texts that the model cannot take whole.

    One length for all keeps items comparable at each position, and the result apart from the size of the batches.
    """
    lengths = []
    for item in range(0, len(items), max(1, len(items) // TEXTS_MEASURED)):
        try:
            lengths.append(tokenizer.length(items.read(item)))
        except UnreadableItemError:  # counted when it is read again
            continue
    full = sum(length > tokenizer.longest for length in lengths)
    needed = min(max(lengths, default=1), tokenizer.longest)
    return needed, full / max(len(lengths), 1)


def _for_pictures(items: Pictures, model: ModelInput, options: TransformOptions) -> Preprocessing:
    if model.channels is None and model.token_ids and model.tokenizer is not None and options.transform is None:
        raise UsageError("the model takes texts, and the data are images; give texts (.txt, .jsonl, .csv) as DATA")
    if model.channels not in {None, 1, 3} and options.transform is None:
        raise UsageError(f"the model takes {model.channels} channels, images have 1 or 3; give --transform")
    mode: Mode = "L" if model.channels == 1 or (model.channels is None and _all_grey(items)) else "RGB"
    words = ["grey images" if mode == "L" else "RGB images"]
    if options.transform is not None:
        return _by_transform(words, options, mode=mode)
    published = model.published or published_preprocessing(model.arch_name)
    return _by_values(words, options, published, 1 if mode == "L" else 3, model=model, mode=mode)


def _for_rows(items: Rows, model: ModelInput, options: TransformOptions) -> Preprocessing:
    if options.transform is not None:
        return _by_transform(["rows of an array"], options)
    if model.token_ids and not items.dtype.is_floating_point and items.dtype != torch.bool:
        if options.given:
            raise UsageError("--size, --mean, --std and --input-scale do not apply to token ids")
        return Preprocessing(description="integers as token ids", given=False, token_ids=True)
    if items.sound and model.sound_channels not in {None, 1}:
        raise UsageError(f"the model takes {model.sound_channels} channels, sounds are mixed to one; give --transform")
    channels = model.sound_channels if items.sound else model.channels
    pixels = items.dtype == torch.uint8 and len(items.item_shape) >= 2
    layout = layout_for(items.item_shape, channels, pixels)
    shape = layout.shape(items.item_shape, channels)
    picture = len(shape) == 3 and shape[0] in {1, 3} and shape[0] == (model.channels or shape[0])
    if options.size is not None and not picture:
        raise UsageError(f"--size applies to images, an item of this array has the shape {list(items.item_shape)}")
    published = (model.published or published_preprocessing(model.arch_name)) if pixels and picture else None
    values = "samples in -1..1" if items.sound else "values as they are in the array"
    words = ["bytes as pixels" if pixels else values]
    words += [layout.value] if layout.value else []
    fitting = model if picture else replace(model, size=None, byte_pixels=False)
    if fitting.size == tuple(shape[1:]):
        fitting = replace(fitting, size=None)
    chosen = _by_values(
        words, options, published, shape[0], model=fitting, layout=layout, channels=channels, pixels=pixels
    )
    for numbers in (chosen.mean, chosen.std):
        if numbers is not None:
            along(numbers, torch.empty(1, *shape, device="meta"))  # complains before the first batch does
    return chosen


def _by_transform(words: list[str], options: TransformOptions, **fields: Any) -> Preprocessing:
    name = getattr(options.transform, "__name__", type(options.transform).__name__)
    return Preprocessing(
        description=f"{words[0]} through the transform {name}",
        given=True,
        transform=options.transform,
        **fields,
    )


def _by_values(
    words: list[str],
    options: TransformOptions,
    published: Published | None,
    depth: int,
    *,
    model: ModelInput,
    **fields: Any,
) -> Preprocessing:
    """Fill in sizes, mean and std for items of `depth` channels: the option, else what is published or needed."""
    size = options.size
    if size is None and published is None and model.size is not None:
        size = model.size[0] if model.size[0] == model.size[1] else model.size
    if size is not None:
        fields["resize"] = size
        fields["crop"] = size if isinstance(size, int) else None
    elif published is not None:
        fields["resize"], fields["crop"] = published.resize, published.crop
    if published is not None:
        fields["interpolation"] = published.interpolation
        fields["mean"] = _fitted(published.mean, depth)
        fields["std"] = _fitted(published.std, depth)
    bytes_needed = model.byte_pixels and fields.get("pixels", True)
    fields["input_scale"] = 255.0 if options.input_scale is None and bytes_needed else options.input_scale
    fields |= {key: value for key in ("mean", "std") if (value := getattr(options, key)) is not None}
    if fields.get("mode") is not None:
        for key in ("mean", "std"):
            if (values := fields.get(key)) is not None and len(values) not in {1, depth}:
                raise UsageError(f"--{key} has {len(values)} values, the images have {depth}")
    if fields.get("pixels", True):
        words = [*words, *_size_words(fields), "pixels in 0..1"]
    elif size is not None:
        words = [*words, *_size_words(fields)]
    if fields["input_scale"] is not None:
        words = [*words, f"times {fields['input_scale']:g}"]
    words += [f"minus mean {_shown(fields['mean'])}"] if fields.get("mean") else []
    words += [f"divided by std {_shown(fields['std'])}"] if fields.get("std") else []
    source = f", {published.source}" if published is not None else ""
    source += " but for the given options" if published is not None and options.given else ""
    source += ", the size that the model takes" if size is not None and options.size is None else ""
    return Preprocessing(description=", ".join(words) + source, given=options.given, **fields)


def _size_words(fields: dict[str, Any]) -> list[str]:
    resize, crop = fields.get("resize"), fields.get("crop")
    if resize is None:
        return ["at native size"]
    if isinstance(resize, tuple):
        return [f"resized to {resize[0]}×{resize[1]} (height×width)"]
    return [
        f"shorter side resized to {resize}",
        *([f"centre crop {crop}×{crop}"] if crop is not None else []),
    ]


def _fitted(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """A one-channel variant of an architecture gets the mean over the published channels."""
    return values if len(values) == channels else (round(fmean(values), 4),)


def _all_grey(items: Pictures) -> bool:
    step = max(1, len(items) // HEADERS_READ)
    modes = {mode for item in range(0, len(items), step) if (mode := items.mode(item)) is not None}
    return bool(modes) and modes <= GREY_MODES


def _shown(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(values) == 1 else f"({', '.join(f'{value:g}' for value in values)})"


def _validate(options: TransformOptions) -> None:
    values = (options.size, options.mean, options.std, options.input_scale)
    if options.transform is not None and any(value is not None for value in values):
        raise UsageError("--transform does all of it: leave out --size, --mean, --std and --input-scale")
    sizes = options.size if isinstance(options.size, tuple) else (1 if options.size is None else options.size,)
    if min(sizes) < 1:
        raise UsageError("--size must be at least 1")
    for key in ("mean", "std"):
        given = getattr(options, key)
        if given is not None and not (given and all(math.isfinite(value) for value in given)):
            raise UsageError(f"--{key} must be one or more finite numbers")
    if options.std is not None and min(options.std) <= 0:
        raise UsageError("--std must be above 0")
    if options.input_scale is not None and not (math.isfinite(options.input_scale) and options.input_scale != 0):
        raise UsageError("--input-scale must be a finite number other than 0")
