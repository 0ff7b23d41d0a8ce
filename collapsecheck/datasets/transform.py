"""What is done to an item before the model sees it, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tv

from collapsecheck.datasets.inputs import Inputs, stacked
from collapsecheck.datasets.layouts import Layout
from collapsecheck.datasets.model_input import Tokenizer
from collapsecheck.datasets.pictures import Mode, convert
from collapsecheck.errors import UsageError, printable

Size = int | tuple[int, int]  # one number: shorter side, then a square from the centre; two: height and width


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformOptions:
    """What the user asked for; None is not asked."""

    size: Size | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    input_scale: float | None = None
    transform: Callable[[Any], Any] | None = None

    @property
    def given(self) -> bool:
        """Whether anything was asked for."""
        return any(part is not None for part in (self.size, self.mean, self.std, self.input_scale, self.transform))


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Items to tensors; the fields are applied in their order.

    `description` is one sentence for the report, `given` tells whether the user chose any part of it or all
    of it was assumed. `tokens` is the number that texts are filled up or cut to.
    """

    description: str
    given: bool
    mode: Mode | None = None
    layout: Layout = Layout.AS_IS
    channels: int | None = None
    token_ids: bool = False
    transform: Callable[[Any], Any] | None = None
    tokenizer: Tokenizer | None = None
    tokens: int = 0
    resize: int | tuple[int, int] | None = None
    crop: int | None = None
    interpolation: InterpolationMode = InterpolationMode.BILINEAR
    pixels: bool = True
    input_scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def item(self, item: Image.Image | torch.Tensor) -> Any:
        """Prepare one image (float32 `[c, h, w]`) or one row, by the user's transform if there is one."""
        if isinstance(item, Image.Image) and self.mode is not None:
            item = convert(item, self.mode)
        if self.transform is not None:
            return self._transformed(item)
        if isinstance(item, torch.Tensor):
            return self.rows(item[None])[0]  # type: ignore[index]  # without a transform it is one tensor
        tensor = picture_tensor(self._resized(item))
        if self.mode == "RGB":
            tensor = tensor.expand(3, -1, -1)
        return self._normalised(tensor[None])[0].contiguous()

    def texts(self, texts: Sequence[str]) -> Inputs:
        """Prepare texts, by the tokenizer."""
        if self.tokenizer is None:
            raise UsageError("texts need a tokenizer or --transform")
        return self.tokenizer(texts, self.tokens)

    def rows(self, rows: torch.Tensor) -> Inputs:
        """Prepare rows of an array `[n, …]`: int64 for token ids, else float32; NaN stays NaN."""
        if self.transform is not None:
            return stacked([self.item(row) for row in rows])
        if self.token_ids:
            return rows.to(torch.int64)
        rows = rows if self.pixels else rows.to(torch.float32)
        rows = self._resized(self.layout.apply(rows, self.channels))
        return self._normalised(rows.to(torch.float32) / 255 if self.pixels else rows).contiguous()

    def _transformed(self, item: Any) -> Inputs:
        try:
            tensor = self.transform(item) if self.transform is not None else item
        except Exception as error:  # the user's own code may raise anything
            raise UsageError(f"the transform failed: {type(error).__name__}: {printable(str(error))}") from error
        if isinstance(tensor, Mapping) and tensor and all(isinstance(one, torch.Tensor) for one in tensor.values()):
            return {str(name): _detached(one) for name, one in tensor.items()}
        if not isinstance(tensor, torch.Tensor):
            raise UsageError(f"the transform must return a tensor or a dict of tensors, not {type(tensor).__name__}")
        return _detached(tensor)

    def _resized(self, item: Any) -> Any:
        if self.resize is not None:
            size = [self.resize] if isinstance(self.resize, int) else list(self.resize)
            item = tv.resize(item, size, interpolation=self.interpolation, antialias=True)
        return item if self.crop is None else tv.center_crop(item, [self.crop, self.crop])

    def _normalised(self, items: torch.Tensor) -> torch.Tensor:
        """Scale, shift and divide float items `[n, …]`."""
        if self.input_scale is not None:
            items = items * self.input_scale
        if self.mean is not None:
            items = items - along(self.mean, items)
        return items if self.std is None else items / along(self.std, items)


def _detached(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to(torch.float32) if tensor.dtype == torch.float64 else tensor.detach()


def picture_tensor(picture: Image.Image) -> torch.Tensor:
    """Return pixels in 0..1 as float32 `[c, h, w]`; images of mode F keep their values."""
    if picture.mode == "F":
        return torch.from_numpy(np.array(picture, dtype=np.float32))[None]
    pixels: torch.Tensor = tv.pil_to_tensor(picture)
    return pixels.to(torch.float32) / 255


def along(values: tuple[float, ...], items: torch.Tensor) -> torch.Tensor:
    """Shape values for `[n, …]`: one for all, one for each channel (second dimension) or each feature.

    Raises
    ------
    UsageError
        If there are as many values as neither channels nor features.
    """
    vector = torch.tensor(values, dtype=torch.float32)
    if len(values) == 1 or (items.ndim == 2 and items.shape[1] == len(values)):
        return vector
    if items.ndim >= 3 and items.shape[1] == len(values):
        return vector.reshape(-1, *[1] * (items.ndim - 2))
    if items.shape[-1] == len(values):
        return vector
    raise UsageError(f"--mean and --std have {len(values)} values, an item has the shape {list(items.shape[1:])}")
