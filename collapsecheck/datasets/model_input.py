"""What a model says about the input that it takes; the preprocessing follows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

    from collapsecheck.datasets.published import Published


class Tokenizer(Protocol):
    """Makes token ids of texts, as the model was trained with."""

    @property
    def longest(self) -> int:
        """The most tokens that the model takes."""

    def length(self, text: str) -> int:
        """Number of tokens of one text, with those that mark its beginning and its end, however long it is."""

    def __call__(self, texts: Sequence[str], length: int) -> dict[str, torch.Tensor]:
        """Return what the model takes, by the names of its arguments: `[n, length]`, filled up or cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInput:
    """What is known about the input of a model.

    `channels` is the number of input channels of the first convolution over images (None without one),
    `sound_channels` that of the first layer where it is a convolution over time, `token_ids` is true where the
    first layer looks up embeddings, `arch_name` is the torchvision name, if it has one. `size` (height and width in
    pixels) is given where the model takes images of one size only, `byte_pixels` is true where it takes them as whole
    numbers from 0 to 255. `tokenizer` loads the tokenizer that came with the model, `published` is the preprocessing
    of images that did.
    """

    channels: int | None
    sound_channels: int | None = None
    token_ids: bool
    arch_name: str | None
    size: tuple[int, int] | None = None
    byte_pixels: bool = False
    tokenizer: Callable[[], Tokenizer] | None = None
    published: Published | None = None
