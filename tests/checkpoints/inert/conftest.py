from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Stored = Callable[..., Path]
Guarded = Callable[..., str]

# What a child runs: while it reads, every effect on the world is printed, imports too, and memory is short.
_GUARD = """
import resource, sys
from pathlib import Path
from collapsecheck.checkpoints import read_checkpoint, formats, CheckpointFormat
from collapsecheck.discovery import plugins
from collapsecheck.errors import NotLoadableError
import encodings.cp437, encodings.utf_32_le, encodings.utf_32_be, encodings.unicode_escape
plugins(formats, CheckpointFormat)
try:  # what reading imports late, by itself
    read_checkpoint(sys.argv[2])
except NotLoadableError:
    pass
def watch(event, arguments):
    if event == "open" and not (isinstance(arguments[1], str) and set(arguments[1]) <= set("rb")):
        sys.stdout.write(f"EFFECT {event} {arguments}\\n")
    if event == "import" or event.startswith(("os.", "subprocess.", "socket.", "ctypes.", "exec", "compile")):
        if event not in ("os.scandir", "os.listdir"):
            sys.stdout.write(f"EFFECT {event} {arguments}\\n")
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[3]), used + int(sys.argv[3])))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
sys.addaudithook(watch)
try:
    content = read_checkpoint(sys.argv[1]).content
    print("READ", type(content).__name__)
except NotLoadableError as error:
    print("REFUSED", error)
"""


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    """Write a pickle, and storages, as torch.save would."""

    def inner(pickle: bytes, storages: dict[str, bytes] | None = None, name: str = "model.pt") -> Path:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("m/data.pkl", pickle)
            archive.writestr("m/byteorder", b"little")
            for key, content in (storages or {}).items():
                archive.writestr(f"m/data/{key}", content)
            archive.writestr("m/version", b"3\n")
        (tmp_path / name).write_bytes(buffer.getvalue())
        return tmp_path / name

    return inner


@pytest.fixture
def guarded(tmp_path: Path, stored: Stored) -> Guarded:
    """Read a file in a child that has little memory; any effect on the world, an import too, is in what it says."""
    honest = stored(b"\x80\x02}.", name="honest.pt")

    def inner(path: Path, memory: int = 512 << 20) -> str:
        command: list[Any] = [sys.executable, "-c", _GUARD, path, honest, str(memory)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert "EFFECT" not in done.stdout
        return done.stdout.strip()

    return inner
