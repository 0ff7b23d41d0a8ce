"""What answers at once must not load torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
import contextlib, io, json, sys
loaded = {}
def note(step):
    loaded[step] = sorted({"torch", "torchvision", "numpy", "PIL"} & set(sys.modules))
import collapsecheck
note("import collapsecheck")
from collapsecheck.cli.entry import run
with contextlib.redirect_stdout(io.StringIO()):
    for line in ("--help", "--version", "scan --help", "explain", "explain effective-rank"):
        assert run(line.split()) == 0, line
        note(line)
with contextlib.redirect_stderr(io.StringIO()):
    assert run(["explain", "efective-rank"]) == 2
    assert run(["scan", "missing.pt", "missing"]) == 2
note("errors")
import collapsecheck.reports.formats.text
import collapsecheck.reports.formats.json
note("formats")
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    found = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    steps: dict[str, list[str]] = json.loads(found.stdout)
    return steps


@pytest.mark.parametrize(
    "step", ["import collapsecheck", "--help", "--version", "scan --help", "explain", "explain effective-rank"]
)
def test_neither_torch_nor_numpy(loaded: dict[str, list[str]], step: str) -> None:
    assert loaded[step] == []


@pytest.mark.parametrize("step", ["errors", "formats"])
def test_no_torch(loaded: dict[str, list[str]], step: str) -> None:
    assert not {"torch", "torchvision"} & set(loaded[step])
