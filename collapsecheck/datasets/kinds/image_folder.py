"""Folders of images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from collapsecheck.datasets.kinds import DataKind, Pictures
from collapsecheck.datasets.pictures import read_mode, read_picture

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif"})

# A folder of these names says which part of the data an image belongs to, not what it shows.
SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


class ImageFolder(DataKind):
    """Images in a folder, at any depth; class sub-folders give labels. A single image works too.

    Hidden files and files without an image's suffix are left out. Links to folders are followed once.
    """

    expects = f"images ({' '.join(sorted(suffix[1:] for suffix in SUFFIXES))}), flat or in class folders"

    def recognises(self, path: Path) -> bool:
        """An image, or a folder that holds one at any depth."""
        return _is_image(path.name) if path.is_file() else next(image_names(path), None) is not None

    def open(self, path: Path) -> ImageItems:
        """List the images in alphabetical order of their relative paths."""
        if path.is_file():
            return ImageItems(path.parent, [path.name])
        return ImageItems(path, sorted(image_names(path)))


class ImageItems(Pictures):
    """The images below `root` with these relative names."""

    def __init__(self, root: Path, names: list[str]) -> None:
        self.root = root
        self.names = names
        folders = class_folders(names)
        if folders is not None:
            self.classes = tuple(sorted(set(folders)))
            number = {folder: i for i, folder in enumerate(self.classes)}
            self.labels = np.array([number[folder] for folder in folders], dtype=np.int64)

    def read(self, item: int) -> Image.Image:
        """Decode one image."""
        return read_picture(self.root / self.names[item])

    def mode(self, item: int) -> str | None:
        """Read the mode in one image's header."""
        return read_mode(self.root / self.names[item])


def image_names(root: Path) -> Iterator[str]:
    """Yield the relative posix paths of all images below `root`, in no particular order."""
    entered = set()
    for folder, below, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:  # a link back up, or a second link to the same folder
            below.clear()
            continue
        entered.add(real)
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in files:
            path = Path(folder, name)
            if _is_image(name) and path.is_file():  # a pipe of that name would block for ever
                yield path.relative_to(root).as_posix()


def class_folders(names: list[str]) -> list[str] | None:
    """Return the class of each image: its outermost folder that tells images apart, or None without classes.

    Folders that all images share and names of splits (`train`, `val`, …) are passed over. Where an image lies
    beside the class folders, or only one folder remains, there are no classes.
    """
    parents = [name.split("/")[:-1] for name in names]
    while parents and all(parents):
        outermost = {parts[0] for parts in parents}
        if len(outermost) > 1 and not all(folder.lower() in SPLITS for folder in outermost):
            return [parts[0] for parts in parents]
        parents = [parts[1:] for parts in parents]
    return None


def _is_image(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
