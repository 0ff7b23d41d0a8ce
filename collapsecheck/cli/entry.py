"""Wraps the Typer application, so that every way to end has its documented exit code."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Sequence

from collapsecheck.errors import CollapsecheckError, printable
from collapsecheck.exit_codes import ExitCode


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code.

    Typer by itself ends with 1 on an unhandled exception, which would make a crash look exactly like
    "collapse found".
    """
    verbose = "-v" in arguments or "--verbose" in arguments
    if arguments[:1] == ["explain"] and len(arguments) <= 2 and not any(word.startswith("-") for word in arguments):
        return _explain(*arguments[1:])  # without the half second that Typer's parser takes to get ready

    import typer

    from collapsecheck.cli.application import app

    if not arguments:
        run(["--help"])
        return ExitCode.USAGE
    try:
        result = app(args=list(arguments), prog_name="collapsecheck", standalone_mode=False)
        code = result if isinstance(result, int) else ExitCode.PASSED
        # Typer makes this code of Ctrl-C by itself, without a word
        return _failed("interrupted", code, verbose=False) if code == ExitCode.INTERRUPTED else int(code)
    except CollapsecheckError as error:
        return _failed(str(error), error.exit_code, verbose)
    except typer.Exit as request:
        return request.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _failed("interrupted", ExitCode.INTERRUPTED, verbose=False)
    except SystemExit as request:
        # Typer's answer when the reader of a help text has gone (`| head`); scans see to their reports themselves
        if isinstance(request.__context__, BrokenPipeError):
            return ExitCode.PASSED
        raise
    except MemoryError:
        return _failed("out of memory; see --batch-size, --max-samples and --size", ExitCode.NOT_MEASURED, verbose)
    except Exception as error:  # the last resort: a crash must not look like "collapse found"
        if hasattr(error, "format_message"):  # Typer's usage errors, whichever click they come from
            return _failed(f"{error.format_message()} (see --help)", ExitCode.USAGE, verbose)
        message = f"internal error: {type(error).__name__}: {error}; run again with -v and report it, please"
        return _failed(message, ExitCode.INTERNAL, verbose)


def _explain(*check: str) -> int:
    from collapsecheck.cli.explain import explain

    try:
        return explain(*check)
    except CollapsecheckError as error:
        return _failed(str(error), error.exit_code, verbose=False)
    except BrokenPipeError:
        return ExitCode.PASSED


def _failed(message: str, code: int, verbose: bool) -> int:
    if verbose:
        traceback.print_exc()
    with contextlib.suppress(OSError):  # no reader either
        print(f"collapsecheck: {printable(message, 2000)}", file=sys.stderr)
    return int(code)
