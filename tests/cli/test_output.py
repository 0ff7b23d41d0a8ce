from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collapsecheck.cli import output
from collapsecheck.cli.output import colorful, measuring, progress_bar, terminal_width
from collapsecheck.errors import NotMeasuredError

from .conftest import Call

# ---- files


def test_a_file_holds_the_report_and_stdout_nothing(call: Call, arena: Path, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("old")
    found = call("embeddings", arena / "same.npy", "--format", "json", "--output", "report.json")
    assert (found.code, found.out) == (1, "")
    assert found.err == "collapsecheck: collapsed; report in report.json\n"
    assert (tmp_path / "report.json").read_text().startswith('{\n  "schema_version"')
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_text_file_has_no_color(call: Call, arena: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert call("embeddings", arena / "good.npy", "-o", "report.txt").code == 0
    text = (tmp_path / "report.txt").read_text(encoding="utf-8")
    assert "±" in text and "\x1b" not in text


@pytest.mark.parametrize("method", ["write_text", "replace"])
def test_what_was_there_stays_when_writing_fails(
    call: Call, arena: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    (tmp_path / "report").write_text("old")
    original = getattr(Path, method)

    def fail(self: Path, *arguments: object, **more: object) -> None:
        original(self.with_name("report.part") if method == "replace" else self, *arguments, **more)
        raise OSError(28, "No space left on device")

    if method == "replace":
        monkeypatch.setattr(Path, "replace", lambda self, target: (_ for _ in ()).throw(OSError(28, "No space left")))
    else:
        monkeypatch.setattr(Path, "write_text", fail)
    found = call("embeddings", arena / "good.npy", "--output", "report")
    monkeypatch.undo()
    assert found.code == 2 and "--output report: cannot be written: No space left" in found.err
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"report": "old"}


# ---- stdout: width, color, encoding


class Terminal:
    """A terminal of its own, with what was written to it."""

    def __init__(self, columns: int) -> None:
        self.controller, self.end = pty.openpty()
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.stream = os.fdopen(self.end, "w", encoding="utf-8")

    def written(self) -> str:
        self.stream.flush()
        os.set_blocking(self.controller, False)
        try:
            return os.read(self.controller, 1 << 20).decode()
        except BlockingIOError:
            return ""

    def close(self) -> None:
        self.stream.close()
        os.close(self.controller)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    opened = Terminal(90)
    yield opened
    opened.close()


def test_colors_are_for_terminals(monkeypatch: pytest.MonkeyPatch, terminal: Terminal) -> None:
    assert not colorful()
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    assert colorful()
    monkeypatch.setenv("TERM", "dumb")
    assert not colorful()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "")
    assert colorful(), "an empty NO_COLOR counts as none"
    monkeypatch.setenv("NO_COLOR", "0")
    assert not colorful()


@pytest.mark.parametrize(
    ("environment", "colored"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False),
        ({"TERM": "dumb"}, False),
        ({"NO_COLOR": "1"}, False),
    ],
)
def test_colors_of_the_report(
    call: Call, arena: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], colored: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert ("\x1b[" in call("embeddings", arena / "good.npy").out) is colored
    assert "\x1b" not in call("embeddings", arena / "good.npy", "--format", "json").out


def test_a_report_on_a_terminal_is_as_wide_as_the_terminal(
    call: Call, arena: Path, monkeypatch: pytest.MonkeyPatch, terminal: Terminal
) -> None:
    long = arena / "good.npy"
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", terminal.stream)
        assert call("embeddings", long).code == 0
        assert terminal_width() == 90
        text = terminal.written()
    assert "\x1b[" in text
    assert max(map(len, re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines())) <= 90


@pytest.mark.parametrize(("columns", "width"), [(0, 60), (40, 60), (100, 100), (300, 120)])
def test_widths(monkeypatch: pytest.MonkeyPatch, columns: int, width: int) -> None:
    assert terminal_width() is None
    opened = Terminal(columns)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", opened.stream)
        assert terminal_width() == width
    opened.close()


@pytest.mark.parametrize("file", ["good", "same", "few"])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_any_encoding_of_stdout_will_do(
    call: Call, arena: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, file: str
) -> None:
    raw = io.BytesIO()
    expected = call("embeddings", arena / f"{file}.npy")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
        found = call("embeddings", arena / f"{file}.npy")
        text = raw.getvalue().decode(encoding)
    assert found.code == expected.code
    assert text.count("\n") == expected.out.count("\n")
    if encoding == "utf-8":
        assert text == expected.out
    elif file != "few":
        assert text.isascii() and "+ " in text and "?" not in text


# ---- progress, and what others print


def test_no_progress_without_a_terminal_or_when_quiet(
    monkeypatch: pytest.MonkeyPatch, terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "PATIENCE", -1)
    with progress_bar(quiet=False) as progress:
        progress("embedding", 10, 5)
    assert capsys.readouterr() == ("", "")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", terminal.stream)
        with progress_bar(quiet=True) as progress:
            progress("embedding", 10, 5)
    assert terminal.written() == ""


@pytest.mark.parametrize(("patience", "shown"), [(0.0, True), (60.0, False)])
def test_progress_appears_on_stderr_once_patience_is_over(
    monkeypatch: pytest.MonkeyPatch,
    terminal: Terminal,
    capsys: pytest.CaptureFixture[str],
    patience: float,
    shown: bool,
) -> None:
    monkeypatch.setattr(output, "PATIENCE", patience)
    monkeypatch.setenv("TERM", "xterm")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", terminal.stream)
        with progress_bar(quiet=False) as progress:
            progress("loading", None, 0)
            for _ in range(3):
                time.sleep(0.01)
                progress("embedding", 10, 1)
    assert ("embedding" in terminal.written()) is shown
    assert capsys.readouterr().out == ""


def test_what_is_printed_meanwhile_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    with measuring(quiet=True):
        print("printed")
        os.write(1, b"native\n")
    print("after")
    found = capfd.readouterr()
    assert found.out == "before\nafter\n"
    assert sorted(found.err.split()) == ["native", "printed"]


@pytest.mark.parametrize("error", [SystemExit(0), SystemExit("bye"), BrokenPipeError()])
def test_the_users_code_cannot_end_the_scan_with_success(error: BaseException) -> None:
    with pytest.raises(NotMeasuredError, match="ended the scan"), measuring(quiet=True):
        raise error
