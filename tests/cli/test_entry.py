"""Every way to end has its documented exit code."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from collapsecheck import scanning
from collapsecheck.cli.application import EPILOG
from collapsecheck.exit_codes import ExitCode
from collapsecheck.version import __version__

from .conftest import Call


def raises(error: BaseException) -> Any:
    def inner(*_: Any, **__: Any) -> None:
        raise error

    return inner


# ---- help and version


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["scan", "--help"], ["embeddings", "-h"], ["demo", "-h"]])
def test_help(call: Call, arguments: list[str]) -> None:
    found = call(*arguments)
    assert (found.code, found.err) == (0, "")
    assert found.out.startswith("Usage: collapsecheck")
    assert "\x1b" not in found.out and max(map(len, found.out.splitlines())) <= 80


def test_the_options_of_scan_have_the_promised_names(call: Call) -> None:
    text = call("scan", "--help").out
    promised = """
        --model-def --arch --key --layer --size --mean --std --input-scale --transform --labels --max-samples --seed
        --batch-size --device --precision --workers --select --ignore --fail-on --require --format --output
    """
    for option in promised.split():
        assert f"{option} " in text, option


def test_the_exit_codes_are_in_the_help(call: Call) -> None:
    assert " ".join(EPILOG.split()) in " ".join(call("scan", "--help").out.split())


def test_version(call: Call) -> None:
    found = call("--version")
    assert (found.code, found.out) == (0, f"collapsecheck {__version__}\n")


def test_no_command_at_all_shows_the_help_but_does_not_pass(call: Call) -> None:
    found = call()
    assert found.code == ExitCode.USAGE
    assert found.out == call("--help").out


# ---- usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["embedings", "x"], "Did you mean 'embeddings'?"),
        (["scan"], "Missing argument 'MODEL'"),
        (
            ["scan", "model.pt"],
            "Missing argument 'DATA': a folder or a file; or give --dataset FILE_OR_MODULE:CALLABLE",
        ),
        (["scan", "model.pt", "x", "--dataset", "a.py:b"], "DATA and --dataset are two sources of data"),
        (["scan", "model.pt", "x", "--sample-rate", "high"], "'--sample-rate'"),
        (["embeddings"], "Missing argument 'FILE'"),
        (["embeddings", "x.npy", "more"], "unexpected extra argument"),
        (["embeddings", "x.npy", "--fail-onn", "never"], "--fail-on"),
        (["scan", "m", "d", "--modeldef", "x"], "--model-def"),
        (["embeddings", "x.npy", "--seed", "one"], "Invalid value for '--seed'"),
        (["embeddings", "x.npy", "--format"], "'--format' requires an argument"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_wrong_usage(call: Call, arguments: list[str], message: str) -> None:
    found = call(*arguments)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith("collapsecheck: ") and found.err.count("\n") == 1
    assert message in found.err


# ---- internal errors, interruptions


def test_a_crash_is_five_and_one_line(call: Call, arena: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "scan_embeddings", raises(RuntimeError("boom\nwith \x1b[31mcolour")))
    found = call("embeddings", arena / "good.npy")
    assert (found.code, found.out) == (5, "")
    assert found.err == (
        "collapsecheck: internal error: RuntimeError: boom\\nwith \\x1b[31mcolour; "
        "run again with -v and report it, please\n"
    )


@pytest.mark.parametrize("option", ["-v", "--verbose"])
def test_the_traceback_is_there_for_those_who_ask(
    call: Call, arena: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setattr(scanning, "scan_embeddings", raises(RuntimeError("boom")))
    found = call("embeddings", arena / "good.npy", option)
    assert found.code == 5
    assert "Traceback (most recent call last)" in found.err and "in embeddings" in found.err


def test_expected_errors_have_a_traceback_with_v_only(call: Call) -> None:
    assert "Traceback" not in call("embeddings", "missing.npy").err
    found = call("embeddings", "missing.npy", "-v")
    assert found.code == 2 and "Traceback" in found.err


def test_an_interruption(call: Call, arena: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "scan_embeddings", raises(KeyboardInterrupt()))
    found = call("embeddings", arena / "good.npy")
    assert (found.code, found.out, found.err) == (130, "", "collapsecheck: interrupted\n")


def test_a_broken_check_is_five_and_in_the_report(call: Call, arena: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from collapsecheck.checks.mean_cosine import MeanCosine

    monkeypatch.setattr(MeanCosine, "run", raises(RuntimeError("boom")))
    found = call("embeddings", arena / "same.npy", "--format", "json")
    assert found.code == found.json["verdict"]["exit_code"] == 5
    assert "the check mean-cosine broke" in found.json["verdict"]["gate"]["reasons"][0]
    assert [one["outcome"] for one in found.json["findings"] if one["check"] == "mean-cosine"] == ["errored"]


# ---- nobody reads


@pytest.mark.parametrize(
    ("arguments", "code"), [(["explain"], 0), (["--help"], 0), (["embeddings", "same.npy"], 1)], ids=str
)
def test_a_closed_pipe_keeps_the_code(python: list[str], arena: Path, arguments: list[str], code: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        found = subprocess.run(
            [*python, *arguments], cwd=arena, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writer)
    assert (found.returncode, found.stderr) == (code, "")
