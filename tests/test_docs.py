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

from collapsecheck.exit_codes import ExitCode
from collapsecheck.scanning import check_settings
from collapsecheck.settings import Settings, load_settings

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


README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTED = list(commands(README))


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


def test_the_exit_codes_of_the_readme() -> None:
    rows = [f"| {int(code)} | {code.meaning} |" for code in ExitCode]
    assert "\n".join(rows) in README


@pytest.mark.parametrize("block", re.findall(r"^```toml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL))
def test_settings_of_the_readme(tmp_path: Path, block: str) -> None:
    (tmp_path / "pyproject.toml").write_text(block)
    settings = load_settings({}, folder=tmp_path)
    check_settings(settings)
    assert settings != Settings()


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))], ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


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
