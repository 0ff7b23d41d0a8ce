"""Folders of images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from collapsecheck.datasets.folders import file_names, folder_labels, has_suffix
from collapsecheck.datasets.kinds import DataKind, Pictures
from collapsecheck.datasets.open_options import NO_OPTIONS, OpenOptions
from collapsecheck.datasets.pictures import PIXEL_LIMIT, read_mode, read_picture

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif"})


class ImageFolder(DataKind):
    """Images in a folder, at any depth; class sub-folders give labels. A single image works too.

    Hidden files and files without an image's suffix are left out. Links to folders are followed once.
    """

    options = frozenset({"max_pixels"})
    expects = f"images ({' '.join(sorted(suffix[1:] for suffix in SUFFIXES))}), flat or in class folders"

    def recognises(self, path: Path) -> bool:
        """An image, or a folder that holds one at any depth."""
        return _is_image(path.name) if path.is_file() else next(image_names(path), None) is not None

    def open(self, path: Path, options: OpenOptions = NO_OPTIONS) -> ImageItems:
        """List the images in alphabetical order of their relative paths."""
        max_pixels = options.max_pixels or PIXEL_LIMIT
        if path.is_file():
            return ImageItems(path.parent, [path.name], max_pixels)
        return ImageItems(path, sorted(image_names(path)), max_pixels)


class ImageItems(Pictures):
    """The images below `root` with these relative names."""

    def __init__(self, root: Path, names: list[str], max_pixels: int = PIXEL_LIMIT) -> None:
        self.root = root
        self.max_pixels = max_pixels
        self.names = names
        self.labels, self.classes = folder_labels(names)

    def read(self, item: int) -> Image.Image:
        """Decode one image."""
        return read_picture(self.root / self.names[item], self.max_pixels)

    def mode(self, item: int) -> str | None:
        """Read the mode in one image's header."""
        return read_mode(self.root / self.names[item])


def image_names(root: Path) -> Iterator[str]:
    """Yield the relative posix paths of all images below `root`, in no particular order."""
    return file_names(root, SUFFIXES)


def _is_image(name: str) -> bool:
    return has_suffix(name, SUFFIXES)
