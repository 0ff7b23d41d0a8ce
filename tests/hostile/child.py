"""Runs all attacks one after the other, in a process of its own whose memory is bounded, and tells how each ended."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any

# What only code that an attack brought along would do here.
WATCHED = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "pickle.find_class")
MORE = 3 << 30  # bytes of addresses that may come on top, files that are mapped among them

effects: list[str] = []
watching = False


def main(folder: Path, commands: dict[str, list[str]]) -> None:
    from collapsecheck.cli.entry import run

    def watch(event: str, _: Any) -> None:
        if watching and event.startswith(WATCHED):
            effects.append(event)

    sys.addaudithook(watch)
    told: dict[str, Any] = {}
    limited = False
    for name, arguments in commands.items():
        if not limited and not name.startswith("honest"):
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + MORE, used + MORE))
            limited = True
        os.chdir(folder / name)
        told[name] = ended(run, arguments)
    (folder / "told.json").write_text(json.dumps(told))


def ended(run: Any, arguments: list[str]) -> dict[str, Any]:
    """How one command ended, and what it took."""
    global watching  # noqa: PLW0603
    effects.clear()
    out, err = io.StringIO(), io.StringIO()
    Path("/proc/self/clear_refs").write_text("5")  # the peak of the memory begins anew
    before, begin = _resident("VmRSS"), time.process_time()
    watching = True
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = run(arguments)
    watching = False
    return {
        "code": code,
        "out": out.getvalue(),
        "err": err.getvalue(),
        "memory": _resident("VmHWM") - before,
        "seconds": time.process_time() - begin,
        "effects": sorted(set(effects)),
    }


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()))
