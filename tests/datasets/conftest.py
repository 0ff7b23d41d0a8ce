from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from collapsecheck.datasets import ModelInput

Paint = Callable[..., Path]


@pytest.fixture
def paint(tmp_path: Path) -> Paint:
    """Write an image of random pixels below tmp_path; the same name has the same pixels."""

    def write(name: str, mode: str = "RGB", size: tuple[int, int] = (8, 6)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        bands = len(Image.new(mode, (1, 1)).getbands())
        shape = (size[1], size[0], bands)[: 3 if bands > 1 else 2]
        pixels = np.random.default_rng(sum(name.encode())).integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(path)
        return path

    return write


def model_input(channels: int | None = None, token_ids: bool = False, arch_name: str | None = None) -> ModelInput:
    return ModelInput(channels=channels, token_ids=token_ids, arch_name=arch_name)
