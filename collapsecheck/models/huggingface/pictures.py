"""What `preprocessor_config.json` says about how images are prepared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torchvision.transforms import InterpolationMode

from collapsecheck.datasets.published import Published

# Pillow's numbers for ways to resize.
_WAYS = {0: InterpolationMode.NEAREST, 2: InterpolationMode.BILINEAR, 3: InterpolationMode.BICUBIC}
_MOST = 4096


def published(description: Any, size: int | None) -> Published | None:
    """Return the preprocessing, None where the file does not describe that of images.

    Parameters
    ----------
    description
        The parsed file.
    size
        Height and width that the model takes, from its configuration.
    """
    if not isinstance(description, Mapping) or not {"image_mean", "do_normalize", "size"} & set(description):
        return None
    resize = _size(description.get("size")) or size
    if resize is None or not description.get("do_resize", True):
        return None
    crop = _size(description.get("crop_size")) if description.get("do_center_crop") else None
    normalised = description.get("do_normalize", True)
    way = description.get("resample")
    return Published(
        resize=resize,
        crop=crop[0] if isinstance(crop, tuple) else crop,
        mean=(_three(description.get("image_mean")) or (0.0,)) if normalised else (0.0,),
        std=(_three(description.get("image_std")) or (1.0,)) if normalised else (1.0,),
        interpolation=_WAYS.get(way, InterpolationMode.BILINEAR)
        if isinstance(way, int)
        else InterpolationMode.BILINEAR,
        source="as its preprocessor_config.json says",
    )


def _size(value: Any) -> int | tuple[int, int] | None:
    """One number for the shorter side, or height and width."""
    if isinstance(value, Mapping):
        sides = [value.get(name) for name in ("height", "width")]
        if all(_fits(side) for side in sides):
            return sides[0], sides[1]  # type: ignore[return-value]  # as `_fits` found
        value = value.get("shortest_edge")
    return value if _fits(value) else None


def _fits(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST


def _three(value: Any) -> tuple[float, ...] | None:
    if not isinstance(value, list) or len(value) not in {1, 3}:
        return None
    numbers = tuple(float(one) for one in value if isinstance(one, int | float))
    return numbers if len(numbers) == len(value) and all(map(math.isfinite, numbers)) else None
