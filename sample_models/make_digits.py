"""Writes the shipped digits again: ``python -m sample_models.make_digits``.

36 of each class, in the order in which scikit-learn gives them, as 8x8 grey PNGs. The other 1437 digits
are what the sample models are trained on, so that a scan of the shipped ones never sees training data.
"""

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # scikit-learn ships no types

FOLDER = Path(__file__).parent / "digits"
PER_CLASS = 36
# The set counts ink in 0..16; a PNG wants 0..255.
FULL_INK = 16


def all_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All 1797 digits as ``[n, 8, 8]`` pixels in 0..255, and their classes ``[n]``."""
    digits = load_digits()
    pixels = np.rint(digits.images * (255 / FULL_INK)).astype(np.uint8)
    return pixels, digits.target.astype(np.int64)


def shipped(classes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which digits are shipped (True) and which are for training (False): the first 36 of each class are."""
    chosen = np.zeros(len(classes), dtype=bool)
    for name in range(10):
        chosen[np.flatnonzero(classes == name)[:PER_CLASS]] = True
    return chosen


def write(folder: Path = FOLDER) -> int:
    """Replace `folder` by the shipped digits, one sub-folder per class; give their number."""
    pixels, classes = all_digits()
    if folder.exists():
        shutil.rmtree(folder)
    rows = np.flatnonzero(shipped(classes))
    for row in rows:
        # The name is the digit's place in the original set, so that each file can be traced back.
        path = folder / str(classes[row]) / f"digit_{row:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[row]).save(path)
    return len(rows)


if __name__ == "__main__":
    print(f"{write()} digits written to {FOLDER}")
