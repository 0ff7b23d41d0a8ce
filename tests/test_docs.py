"""The documentation cannot lie: its commands are executed.

In README.md, each line `$ collapsecheck ...` of a block marked as `console` is run from a folder that looks like
the root of the repository; it must end with code 0, or with N where the line ends with `# exit code N`. A line
that ends with a backslash goes on in the next.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^( *)```console\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"\s*# exit code (\d+)\s*$")


def commands(text: str) -> Iterator[tuple[str, int]]:
    """Yield each command with the exit code it must have."""
    for _, block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip().startswith("$ collapsecheck"):
                command = line.strip().removeprefix("$ ")
                code = CODE.search(command)
                yield CODE.sub("", command), int(code[1]) if code else 0


DOCUMENTED = list(commands((ROOT / "README.md").read_text(encoding="utf-8")))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Links to all that is in the repository, so that a report is not written into it."""
    for entry in ROOT.iterdir():
        if not entry.name.startswith("."):
            (tmp_path / entry.name).symlink_to(entry)
    return tmp_path


@pytest.mark.parametrize(("command", "code"), DOCUMENTED, ids=[command for command, _ in DOCUMENTED])
def test_commands_of_the_readme(root: Path, command: str, code: int) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    found = subprocess.run(
        ["bash", "-c", command], cwd=root, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert found.returncode == code, found.stdout + found.stderr
    assert "Traceback" not in found.stderr


def test_how_commands_are_found() -> None:
    text = """
```console
$ collapsecheck scan a \\
    b  # exit code 1
COLLAPSED
$ make demo
$ collapsecheck explain
```
```bash
$ collapsecheck other
```
  ```console
  $ collapsecheck demo # a comment
  ```
"""
    assert list(commands(text)) == [
        ("collapsecheck scan a      b", 1),
        ("collapsecheck explain", 0),
        ("collapsecheck demo # a comment", 0),
    ]
