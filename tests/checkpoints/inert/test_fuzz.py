"""Nearly right pickles: whatever they say, they are read or refused, and nothing happens."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collapsecheck.checkpoints import MappedTensor, ModuleRecord, StoredTensor, read_checkpoint
from collapsecheck.checkpoints.inert import Storage, read_pickle
from collapsecheck.errors import NotLoadableError
from tests.checkpoints.inert import streams

_CHILD = """
import resource, sys
from pathlib import Path
from random import Random
import numpy, encodings.utf_32_le, encodings.utf_32_be, encodings.unicode_escape  # imported by need, not by name
from collapsecheck.checkpoints.inert import read_pickle
from collapsecheck.errors import NotLoadableError
from tests.checkpoints.inert import streams
corpus = [bytes.fromhex(line) for line in sys.stdin.read().split()]
effects, read, refused = [], 0, 0
def watch(event, arguments):
    if event in ("import", "open", "exec", "compile", "marshal.loads", "pickle.find_class"):
        effects.append((event, arguments))
    if event.startswith(("os.", "subprocess.", "socket.", "ctypes.", "shutil.")):
        effects.append((event, arguments))
made = [streams.stream(Random(seed)) for seed in range(2000)]
made += [streams.damaged(Random(seed), corpus[seed % len(corpus)]) for seed in range(2000)]
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20),) * 2)
sys.addaudithook(watch)
for content in made:
    try:
        read_pickle(content, file=Path("none"), locate=lambda storage: (0, 16))
        read += 1
    except NotLoadableError:
        refused += 1
print(len(effects), read, refused)
print(effects[:3], file=sys.stderr)
"""


def look_at(value: object) -> None:
    """Go through what came out, as the later stages do; the one storage has 16 bytes, and nothing is larger."""
    if isinstance(value, ModuleRecord):
        assert next(value.named_modules())[0] == ""
        for held in value.state_dict().values():
            assert held.nbytes <= 255
    elif isinstance(value, MappedTensor):
        assert held_within(value)


def held_within(value: MappedTensor) -> bool:
    return value.offset >= 0 and value.offset + value.span <= 16 and value.nbytes <= 16


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_streams_of_instructions(seed: int) -> None:
    def locate(_: Storage) -> tuple[int, int]:
        return 0, 16

    with contextlib.suppress(NotLoadableError):
        value, notes = read_pickle(streams.stream(Random(seed)), file=Path("none"), locate=locate)
        look_at(value)
        assert all(note.message for note in notes)


@pytest.fixture(scope="module")
def whole_files() -> list[bytes]:
    found = []
    for new in (True, False):
        buffer = io.BytesIO()
        torch.save({"w": torch.ones(3), "n": torch.nn.Linear(1, 1)}, buffer, _use_new_zipfile_serialization=new)
        found.append(buffer.getvalue())
    return found


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_damaged_files(tmp_path_factory: pytest.TempPathFactory, whole_files: list[bytes], seed: int) -> None:
    random = Random(seed)
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    path.write_bytes(streams.damaged(random, random.choice(whole_files)))
    try:
        content = read_checkpoint(path).content
        for value in content.values():
            if isinstance(value, StoredTensor):
                value.tensor()
    except NotLoadableError as error:
        assert str(error).isprintable()


def test_nothing_happens_while_pickles_are_read() -> None:
    """4000 of them in a child where every import and every effect is seen, with 256 MB to spare."""
    corpus = "\n".join(content.hex() for content in streams.checkpoints())
    done = subprocess.run(
        [sys.executable, "-c", _CHILD], input=corpus, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    effects, read, refused = map(int, done.stdout.split())
    assert effects == 0, done.stderr
    assert read > 300
    assert refused > 300
