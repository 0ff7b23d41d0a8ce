"""The parent's side of the pipes to a child: it is started, asked, and ended when it answers as it should not."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import selectors
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from collapsecheck.errors import printable
from collapsecheck.models.child import start
from collapsecheck.models.child.framing import BrokenFrameError, Frame, encoded, read_frame

# What the child gets of the environment: no tokens, keys or passwords, whatever they are called.
_KEPT = frozenset(
    {"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TMP", "TEMP", "USER", "LOGNAME", "LD_LIBRARY_PATH"}
)
_KEPT_BEGINNINGS = ("LC_", "CUDA_", "NVIDIA_", "OMP_", "MKL_", "KMP_", "OPENBLAS_", "PYTORCH_", "HSA_", "ROCR_", "HIP_")
_SECRET_WORDS = ("TOKEN", "SECRET", "PASSWORD", "KEY", "CREDENTIAL")
_PIPE = 1 << 20  # bytes
_LAST_WORDS = 4096  # bytes of what it prints that are kept
_SHARE_OF_MEMORY = 0.8
_GLANCE = 1.0  # seconds between two looks at whether the child is still there


class ChildGoneError(Exception):
    """The child does not answer any more; the message says why, and goes on from "the model "."""


class Connection:
    """A child process. Every wait has an end, and a child that breaks a rule is ended at once."""

    def __init__(self) -> None:
        given = {
            "parent": os.getpid(),
            "path": [entry for entry in sys.path if entry],
            "folder": str(Path.cwd()),
            "memory": _memory(),
        }
        self._process = subprocess.Popen(  # noqa: S603 - this Python, and a file of this package
            [sys.executable, "-I", str(Path(start.__file__)), json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=_environment(),
            start_new_session=True,  # it is ended with all that it started, and Ctrl-C reaches this process alone
        )
        streams = [self._process.stdin, self._process.stdout, self._process.stderr]
        self._to, self._from, self._printed = (stream.fileno() for stream in streams if stream is not None)
        for descriptor in (self._to, self._from, self._printed):
            os.set_blocking(descriptor, False)
            with contextlib.suppress(OSError, AttributeError):  # Linux only, and bounded for who is not root
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE)
        self._words = b""
        self._gone: str | None = None
        self._deadline = 0.0
        self._seconds = 0.0
        self.end = weakref.finalize(self, _end, self._process, os.getpid())

    def __deepcopy__(self, _: Any) -> Connection:
        """A copy of a model shares its process."""
        return self

    def ask(self, kind: str, value: Any, *, seconds: float) -> None:
        """Send a request; the answer has to be complete within so many seconds."""
        if self._gone is not None:
            raise ChildGoneError(self._gone)
        self._deadline, self._seconds = time.monotonic() + seconds, seconds
        for part in encoded(kind, value):
            left = part
            while left:
                self._wait(self._to, selectors.EVENT_WRITE)
                try:
                    left = left[os.write(self._to, left[:_PIPE]) :]
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise self._ended() from error

    def answer(self) -> Frame:
        """Return the next frame.

        Raises
        ------
        ChildGoneError
            If there is none, or none in time.
        """
        if self._gone is not None:
            raise ChildGoneError(self._gone)
        try:
            return read_frame(self._read)
        except BrokenFrameError as error:
            raise self.broke(f"sent {error}") from error

    def broke(self, what: str) -> ChildGoneError:
        """End a child that answered what it must not; returns the error to raise."""
        return self._failed(f"{what} from its child process, which no model does; the child was ended")

    def _read(self, count: int) -> bytearray:
        held = bytearray(count)
        view = memoryview(held)
        while view:
            self._wait(self._from, selectors.EVENT_READ)
            try:
                got = os.readv(self._from, [view])
            except BlockingIOError:
                continue
            if not got:
                raise self._ended()
            view = view[got:]
        return held

    def _wait(self, descriptor: int, event: int) -> None:
        """Wait until a pipe is ready; what the child prints in the meantime is taken in, or it would block."""
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, event)
            selector.register(self._printed, selectors.EVENT_READ)
            while True:
                left = self._deadline - time.monotonic()
                if left <= 0:
                    raise self._failed(
                        f"did not answer within {self._seconds:.0f} s in its child process, which was ended; "
                        "try a smaller --batch-size, or look at what its code waits for"
                    )
                ready = {key.fd for key, _ in selector.select(min(left, _GLANCE))}
                if self._printed in ready and not self._listen():
                    selector.unregister(self._printed)
                if descriptor in ready:
                    return
                if not ready and self._process.poll() is not None:  # what it started may still hold its pipes open
                    raise self._ended()

    def _listen(self) -> bool:
        try:
            heard = os.read(self._printed, _PIPE)
        except BlockingIOError:
            return True
        self._words = (self._words + heard)[-_LAST_WORDS:]
        return bool(heard)

    def _ended(self) -> ChildGoneError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.poll()
        with contextlib.suppress(OSError):  # a pipe that others still hold has no end
            for _ in range(64):
                if not self._listen():
                    break
        if code is None:
            how = "closed its pipes in its child process"
        elif code < 0:
            name = signal.Signals(-code).name if -code in list(signal.Signals) else f"signal {-code}"
            hint = ", perhaps as memory ran out" if -code == signal.SIGKILL else ""
            how = f"was killed in its child process ({name}{hint})"
        else:
            how = f"left its child process with exit code {code}"
        words = [line for line in self._words.decode("utf-8", "replace").splitlines() if line.strip()]
        said = f"; its last words: {printable(words[-1].strip())}" if words else ""
        return self._failed(f"{how}{said}")

    def _failed(self, reason: str) -> ChildGoneError:
        self._gone = reason
        self.end()
        return ChildGoneError(reason)


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """Kill a child with all that it started; workers that were forked from its parent have no say in it."""
    if os.getpid() != owner:
        return
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        process.kill()
        process.wait(5)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def _environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if (name in _KEPT or name.startswith(_KEPT_BEGINNINGS)) and not _is_secret(name)
    }


def _is_secret(name: str) -> bool:
    words: Sequence[str] = name.upper().split("_")
    return any(word in words for word in _SECRET_WORDS)


def _memory() -> int | None:
    """Bytes that the child may take; None with CUDA, which reserves more addresses than there is memory."""
    if sys.platform != "linux" or torch.cuda.is_available():
        return None
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        line = next(one for one in lines if one.startswith("MemAvailable:"))
        return int(int(line.split()[1]) * 1024 * _SHARE_OF_MEMORY)
    return None
