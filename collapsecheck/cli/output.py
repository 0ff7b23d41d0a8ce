"""Where a report goes, and the progress bar."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from collapsecheck.discovery import plugins
from collapsecheck.errors import NotMeasuredError, UsageError, did_you_mean, printable

if TYPE_CHECKING:
    from collapsecheck.reports import Renderer, Report
    from collapsecheck.scanning import Progress

STDOUT, STDERR = 1, 2
PATIENCE = 2.0  # seconds before a progress bar appears
ASCII = str.maketrans({"±": "+", "–": "-", "−": "-", "·": "-", "…": "~", "×": "x", "√": "v", "η": "n", "²": "2"})
ASCII |= {ord(block): step for block, step in zip("▁▂▃▄▅▆▇█", "..::==##", strict=True)}


def renderer_for(name: str, output: Path | None) -> Renderer:
    """Find the format before anything slow is done, and see that the file can be written.

    Raises
    ------
    UsageError
        If the format is unknown, or the folder of the output does not exist.
    """
    from collapsecheck.reports import Renderer, formats

    known: dict[str, type[Renderer]] = plugins(formats, Renderer)
    if name not in known:
        raise UsageError(f"unknown format {name!r}{did_you_mean(name, known)}")
    if output is not None:
        check_output(output)
    return known[name]()


def check_output(output: Path) -> None:
    """See that a file can be written, before anything slow is done.

    Raises
    ------
    UsageError
        If its folder does not exist, or it is a folder itself.
    """
    shown = printable(str(output))
    if not output.parent.is_dir():
        raise UsageError(f"--output {shown}: the folder {printable(str(output.parent))} does not exist")
    if output.is_dir():
        raise UsageError(f"--output {shown}: is a folder; expected the name of a file")


def deliver(report: Report, renderer: Renderer, output: Path | None) -> int:
    """Write the report to the file (at once, by renaming) or to stdout; returns the exit code of the gate."""
    if output is not None:
        write_file(renderer.render(report, width=100), output)
        print(f"collapsecheck: {report.verdict.status}; report in {printable(str(output))}", file=sys.stderr)
    else:
        write_stdout(renderer.render(report, width=terminal_width(), color=colorful()))
    return int(report.gate.exit_code)


def write_file(text: str, output: Path) -> None:
    """Write a file at once, by renaming: what was there stays when that fails.

    Raises
    ------
    UsageError
        If it cannot be written.
    """
    partial = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(output)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise UsageError(f"--output {printable(str(output))}: cannot be written: {error.strerror}") from error


def write_stdout(text: str) -> None:
    """Write to stdout what its encoding can hold; that nobody reads it is no error."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(ASCII).encode("ascii", "replace").decode("ascii")
    with contextlib.suppress(BrokenPipeError):  # `| head` must not change the exit code
        sys.stdout.write(text)
        sys.stdout.flush()


def colorful() -> bool:
    """Colour for people only: a terminal, and no wish against it (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(os.environ.get("FORCE_COLOR")) or sys.stdout.isatty()


def terminal_width() -> int | None:
    """Width of the terminal, at most 120; None (80 columns) when stdout is not one."""
    if not sys.stdout.isatty():
        return None
    return max(60, min(os.get_terminal_size(sys.stdout.fileno()).columns, 120))


@contextlib.contextmanager
def progress_bar(quiet: bool) -> Iterator[Progress]:
    """A bar on stderr for whatever takes more than two seconds; nothing when stderr is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda stage, total, done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    begin = time.monotonic()
    tasks: dict[str, object] = {}

    def advance(stage: str, total: int | None, done: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total)
        bars.advance(tasks[stage], done)  # type: ignore[arg-type]  # a TaskID, by the line above
        if not bars.live.is_started and time.monotonic() - begin > PATIENCE:
            bars.start()

    try:
        yield advance
    finally:
        bars.stop()


@contextlib.contextmanager
def measuring(quiet: bool) -> Iterator[Progress]:
    """Surround a scan: the progress bar, and nothing but the report on stdout.

    The model and what it is built on are the user's code. It may print, from native code too, or end the
    program; and an end that it chose must not look like a gate that passed.
    """
    with _warnings_on_stderr(), _stdout_for_the_report(), progress_bar(quiet) as progress:
        try:
            yield progress
        except (SystemExit, BrokenPipeError) as error:
            raise NotMeasuredError(
                f"the code of the model or of the data ended the scan: {type(error).__name__}: {error}"
            ) from error


@contextlib.contextmanager
def _stdout_for_the_report() -> Iterator[None]:
    """Send what is printed meanwhile to stderr, also by native code, which knows no `sys.stdout`."""
    sys.stdout.flush()
    with contextlib.redirect_stdout(sys.stderr), contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # one of them may be closed
            kept = os.dup(STDOUT)
            stack.callback(os.close, kept)
            os.dup2(STDERR, STDOUT)
            stack.callback(os.dup2, kept, STDOUT)
        yield


@contextlib.contextmanager
def _warnings_on_stderr() -> Iterator[None]:
    """Warnings of torch and others, as one line each."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, category, *_, **__: print(
            f"collapsecheck: warning: {printable(str(message).splitlines()[0] if str(message) else '')}",
            file=sys.stderr,
        )
        yield
