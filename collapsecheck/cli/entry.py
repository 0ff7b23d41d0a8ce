"""Wraps the Typer application, so that every way to end has its documented exit code."""

from __future__ import annotations

import os
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
    import typer

    from collapsecheck.cli.application import app

    verbose = "-v" in arguments or "--verbose" in arguments
    try:
        result = app(args=list(arguments), prog_name="collapsecheck", standalone_mode=False)
        return int(result) if isinstance(result, int) else ExitCode.PASSED
    except CollapsecheckError as error:
        return _failed(str(error), error.exit_code, verbose)
    except typer.Exit as request:
        return request.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _failed("interrupted", ExitCode.INTERRUPTED, verbose=False)
    except BrokenPipeError:
        # the reader of the report has gone (`| head`); nothing may be flushed into the closed pipe any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.PASSED
    except Exception as error:
        if hasattr(error, "format_message"):  # Typer's usage errors, whichever click they come from
            return _failed(f"{error.format_message()} (see --help)", ExitCode.USAGE, verbose)
        message = f"internal error: {type(error).__name__}: {error}; run again with -v and report it, please"
        return _failed(message, ExitCode.INTERNAL, verbose)


def _failed(message: str, code: int, verbose: bool) -> int:
    if verbose:
        traceback.print_exc()
    print(f"collapsecheck: {printable(message, 2000)}", file=sys.stderr)
    return int(code)
