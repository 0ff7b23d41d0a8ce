from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from collapsecheck.cli import demo

from .conftest import Call


@pytest.fixture
def samples(arena: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like sample_models, with two small models."""
    folder = tmp_path / "samples"
    (folder / "checkpoints").mkdir(parents=True)
    shutil.copytree(arena / "images", folder / "digits")
    source = (arena / "models.py").read_text()
    (folder / "networks.py").write_text(f"{source}\nhealthy = always_one = other = Pictures\n")
    for name in ("healthy", "always_one", "other"):
        shutil.copy(arena / "pictures.pt", folder / "checkpoints" / f"{name}.pt")
    monkeypatch.setattr(demo, "sample_folder", lambda: folder)
    return folder


def test_two_samples_are_scanned_and_the_commands_shown(call: Call, samples: Path) -> None:
    found = call("demo")
    assert (found.code, found.err) == (0, "")
    assert [line for line in found.out.splitlines() if line.startswith("$ ")] == [
        f"$ collapsecheck scan samples/checkpoints/{name}.pt samples/digits --model-def samples/networks.py:{name}"
        for name in ("always_one", "healthy")
    ]
    assert found.out.count("HEALTHY\n") == 2


@pytest.mark.parametrize(("arguments", "count"), [(["other"], 1), (["--all"], 3)])
def test_others_may_be_chosen(call: Call, samples: Path, arguments: list[str], count: int) -> None:
    found = call("demo", *arguments)
    assert found.code == 0 and found.out.count("$ collapsecheck scan") == count


def test_an_unknown_sample_is_a_usage_error_with_a_suggestion(call: Call, samples: Path) -> None:
    found = call("demo", "helthy")
    assert (found.code, found.out) == (2, "")
    assert found.err == "collapsecheck: unknown sample 'helthy'; did you mean 'healthy'?\n"


def test_samples_that_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: Call) -> None:
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "collapsecheck" / "cli" / "demo.py"))
    found = call("demo")
    assert found.code == 2 and "the sample models are not installed" in found.err
