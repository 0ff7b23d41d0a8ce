from __future__ import annotations

import contextlib
import io
import os
import resource
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from collapsecheck.datasets import Batches, TransformOptions, choose_preprocessing
from collapsecheck.datasets.kinds import Items

from ..conftest import model_input

GIB = 2**30

Members = list[tuple[str, bytes]]
Limit = Callable[[int], AbstractContextManager[None]]


@pytest.fixture
def memory_limit() -> Limit:
    """Make allocations fail that would take the process by more than so many bytes above what it has."""
    if not sys.platform.startswith("linux"):
        pytest.skip("needs /proc")

    @contextlib.contextmanager
    def limit(more: int) -> Iterator[None]:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + more, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)

    return limit


def picture(value: int, size: tuple[int, int] = (4, 3), mode: str = "L", form: str = "PNG") -> bytes:
    """An encoded image of one grey value."""
    stream = io.BytesIO()
    Image.new("L", size, value).convert(mode).save(stream, form)
    return stream.getvalue()


def npy(array: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(array), allow_pickle=True)
    return stream.getvalue()


def write_tar(path: Path, members: Members, form: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mtime = 1.5  # a fraction makes an extended header of each member, as the webdataset writer does
            tar.addfile(info, io.BytesIO(content))
    return path


def everything(items: Items, workers: int = 0) -> tuple[list[int], dict[str, str]]:
    """Read all items as a scan does: first value of each that was read (in 0..255 for images), and what failed."""
    preprocessing = choose_preprocessing(items, model_input(), TransformOptions())
    batches = Batches(items, preprocessing, workers=workers, batch_size=4)
    values: list[int] = []
    for batch in batches:
        scale = 255 if preprocessing.mode is not None else 1
        values += [round(float(row.nan_to_num().flatten()[0]) * scale) for row in batch.inputs]
    return values, dict(batches.unreadable)
