"""Every format under the suffix of every other: exactly one says that it is its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from collapsecheck.checkpoints import CheckpointFormat, formats, read_checkpoint
from collapsecheck.discovery import plugins
from collapsecheck.errors import NotLoadableError
from tests.checkpoints import corpus

CASES = [(name, make) for name, makes in corpus.HONEST.items() for make in makes]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[corpus.Make, Path]:
    """Everything once: to write it takes longer than to read it."""
    found = {}
    for _, make in CASES:
        found[make] = tmp_path_factory.mktemp(make.__name__) / "model"
        make(found[make])
    return found


def recognised(path: Path) -> list[str]:
    head = b"" if path.is_dir() else path.read_bytes()[:512]
    return [name for name, found in plugins(formats, CheckpointFormat).items() if found().recognises(head, path)]


def test_there_is_an_honest_file_of_every_format() -> None:
    assert set(plugins(formats, CheckpointFormat)) - corpus.WRITTEN_ELSEWHERE == {name for name, _ in CASES if name}


@pytest.mark.parametrize(("name", "make"), CASES, ids=[make.__name__ for _, make in CASES])
@pytest.mark.parametrize("suffix", corpus.SUFFIXES)
def test_one_format_recognises_it_whatever_its_name(
    made: dict[corpus.Make, Path], name: str | None, make: corpus.Make, suffix: str
) -> None:
    path = made[make].with_name(f"renamed{suffix}")
    made[make].rename(path)
    try:
        assert recognised(path) == ([name] if name else [])
    finally:
        path.rename(made[make])


@pytest.mark.parametrize(("name", "make"), CASES, ids=[make.__name__ for _, make in CASES])
def test_it_is_read_or_refused_in_one_line(made: dict[corpus.Make, Path], name: str | None, make: corpus.Make) -> None:
    if name is None:
        with pytest.raises(NotLoadableError, match="expected"):
            read_checkpoint(made[make])
    else:
        assert read_checkpoint(made[make]).format == name


@pytest.mark.parametrize(("name", "make"), CASES, ids=[make.__name__ for _, make in CASES])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_what_was_cut_short_is_refused_or_read(
    made: dict[corpus.Make, Path], name: str | None, make: corpus.Make, share: float, tmp_path: Path
) -> None:
    """A torn copy must end in one line, never in a traceback."""
    path = tmp_path / "model"
    if made[make].is_dir():
        shutil.copytree(made[make], path)
        files = [file for file in path.rglob("*") if file.is_file()]
    else:
        shutil.copytree(made[make].parent, tmp_path, dirs_exist_ok=True)
        files = [path]
    for file in files:
        os.truncate(file, int(file.stat().st_size * share))
    if make is corpus.torch_tar and share >= 0.9:  # tar fills up its file with nothing
        assert read_checkpoint(path).format == name
        return
    with pytest.raises(NotLoadableError) as caught:
        read_checkpoint(path)
    assert str(caught.value).isprintable()
    assert len(recognised(path)) <= 1


def test_reading_needs_no_torch(made: dict[corpus.Make, Path]) -> None:
    """And so it cannot run anything of torch's either."""
    paths = [str(made[make]) for name, make in CASES if name]
    code = (
        "import sys; from collapsecheck.checkpoints import read_checkpoint\n"
        f"for path in {paths!r}:\n"
        "    read_checkpoint(path)\n"
        "    assert 'torch' not in sys.modules, path\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
