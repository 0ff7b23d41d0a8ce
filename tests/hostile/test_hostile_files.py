"""Hostile files of every kind through the real commands: refused or contained, nothing ran, and little memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.attacks import ATTACKS, EXPECTED, MARKER, prepare

pytest.importorskip("pyarrow", reason="the extra [arrow] is not installed")
pytest.importorskip("soundfile", reason="the extra [audio] is not installed")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured in /proc")

#: No file makes a command take more memory than this, on top of what an honest command of its kind had taken before.
CEILING = 128 << 20
SECONDS = 60  # of processor time: far more than any takes, far less than what never ends

HONEST = {
    "honest model": ["scan", "../honest.pt", "../honest.npy", "--model-def", "../networks.py:linear"],
    "honest inspection": ["inspect", "../honest.pt"],
}


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """How each command ended; they run in one child, as each start would take seconds."""
    folder = tmp_path_factory.mktemp("hostile")
    prepare(folder)
    commands: dict[str, list[str]] = {}
    for name in (*HONEST, *ATTACKS):
        own = folder / _folder(name)
        own.mkdir()
        made = HONEST[name] if name in HONEST else [str(one) for one in ATTACKS[name](own)]
        bounded = ["--fail-on", "never", "--quiet", "--no-diagnose", "--device", "cpu"] if made[0] == "scan" else []
        commands[own.name] = [*made, *bounded]
        assert not (own / MARKER).exists(), f"making {name} ran it"
    (folder / "commands.json").write_text(json.dumps(commands))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.child", str(folder), str(folder / "commands.json")],
        capture_output=True, text=True, timeout=900, check=False, env=environment,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "", "something wrote past the command's own output"
    ended: dict[str, Any] = json.loads((folder / "told.json").read_text())
    for name, one in ended.items():
        one["marker"] = (folder / name / MARKER).exists()
    return ended


def _folder(name: str) -> str:
    return re.sub(r"[^\w.]+", "-", name)


@pytest.mark.parametrize("name", HONEST)
def test_honest_files_pass(told: dict[str, Any], name: str) -> None:
    ended = told[_folder(name)]
    assert ended["code"] == 0 and ended["err"] == "" and ended["out"]


@pytest.mark.parametrize("name", ATTACKS)
def test_refused_or_contained(told: dict[str, Any], name: str) -> None:
    ended, expected = told[_folder(name)], EXPECTED[name]
    assert not ended["marker"] and not ended["effects"], "code ran"
    assert ended["code"] in expected.codes, ended["err"][-1000:]
    assert ended["memory"] <= CEILING, f"{ended['memory'] >> 20} MiB"
    assert ended["seconds"] <= SECONDS
    said = ended["out"] + ended["err"]
    assert all(character.isprintable() or character == "\n" for character in said)
    assert "Traceback" not in said and not re.search(r"^HEALTHY \(forged\)", said, re.MULTILINE)
    assert len(said) < 50_000
    if ended["code"] in (2, 3):
        assert ended["out"] == "" and ended["err"].count("\n") == 1  # one line, which says what is wrong
        assert ended["err"].startswith("collapsecheck: ")
