"""Image files to PIL images of one mode, without trusting the file."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from collapsecheck.datasets.kinds import UnreadableItemError
from collapsecheck.errors import printable

Mode = Literal["L", "RGB"]

PIXEL_LIMIT = 64_000_000  # 192 MB as RGB; more is no sample of a data set but a decompression bomb

# Never PIL's full list: some of its plug-ins start other programs (EPS), many are hardly ever exercised.
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"})

SIXTEEN_BIT = 65535.0


def read_picture(source: Path | bytes, max_pixels: int = PIXEL_LIMIT) -> Image.Image:
    """Decode one file, or its content (an animated one: its first frame).

    As in torchvision's `ImageFolder`, an orientation in the EXIF data is not applied: a model was trained
    on the pixels as they are stored.

    Raises
    ------
    UnreadableItemError
        For empty, truncated, corrupt or oversized files and for formats outside `FORMATS`.
    """
    try:
        if (len(source) if isinstance(source, bytes) else source.stat().st_size) == 0:
            raise UnreadableItemError("the file is empty")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata does not matter for the pixels
            with Image.open(_opened(source), formats=FORMATS) as picture:
                width, height = picture.size
                if width * height > max_pixels:
                    raise UnreadableItemError(
                        f"too large to be decoded safely: {width}×{height} pixels, more than --max-pixels {max_pixels}"
                    )
                picture.load()
                return picture.copy()
    except Image.DecompressionBombError:  # PIL's own limit lies above 178 megapixels
        raise UnreadableItemError("too large to be decoded safely: more than 178 megapixels") from None
    except UnidentifiedImageError:
        raise UnreadableItemError(_foreign(source)) from None
    except UnreadableItemError:
        raise
    except Exception as error:  # PIL's decoders raise nearly anything on corrupt bytes
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadableItemError(f"cannot be decoded: {printable(reason)}") from error


def read_mode(source: Path | bytes) -> str | None:
    """Return the mode in the header of an image file or of its content, or None when there is none to read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(_opened(source), formats=FORMATS) as picture:
                return picture.mode
    except Exception:  # whatever it is, reading the item itself will report it
        return None


def convert(picture: Image.Image, mode: Mode) -> Image.Image:
    """Bring an image to grey or RGB.

    Transparency is dropped, as torchvision's `ImageFolder` does. Images of 16 and 32 bits become mode `F`
    with values in 0..1 (float ones keep their values): `convert("L")` would clip them to white. A model
    with three channels sees them as grey.

    Raises
    ------
    UnreadableItemError
        If there is no way from the mode of the image to this one.
    """
    if picture.mode.startswith("I"):
        return Image.fromarray(np.asarray(picture, dtype=np.float32) / np.float32(SIXTEEN_BIT))
    if picture.mode in {mode, "F"}:
        return picture
    if picture.mode == "P" and "transparency" in picture.info:  # straight to RGB would warn and guess
        picture = picture.convert("RGBA")
    try:
        return picture.convert(mode)
    except ValueError as error:  # LAB, for one
        raise UnreadableItemError(f"images of mode {picture.mode} are not supported") from error


def _opened(source: Path | bytes) -> Path | BytesIO:
    return BytesIO(source) if isinstance(source, bytes) else source


def _foreign(source: Path | bytes) -> str:
    if isinstance(source, bytes):
        start = source[:64]
    else:
        with source.open("rb") as file:
            start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the image: run `git lfs pull`"
    return "not an image of a known format"
