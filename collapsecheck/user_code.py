"""Python that the user's own command line names: `FILE_OR_MODULE:CALLABLE`."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from collapsecheck.errors import UsageError, did_you_mean, printable


def load_callable(reference: str, *, option: str) -> Callable[..., Any]:
    """Import what `networks.py:build` or `package.networks:build` names.

    Parameters
    ----------
    reference
        A path that ends with .py, or a dotted module; then a colon and the name of a callable in it.
    option
        The option that it was given with, for the messages.

    Raises
    ------
    UsageError
        If the reference, the file, its import or the callable is wrong.
    """
    at = f"{option} {printable(reference)}"
    source, _, name = reference.rpartition(":")
    if not source or not name:
        raise UsageError(f"{at}: expected FILE_OR_MODULE:CALLABLE, such as networks.py:build")
    with user_code(reference):
        try:
            module = _from_file(Path(source), at) if _is_file(source) else importlib.import_module(source)
        except UsageError:
            raise
        except (Exception, SystemExit) as error:
            raise UsageError(f"{at}: importing {printable(source)} failed: {in_one_line(error)}") from error
    target: Any = module
    for part in name.split("."):
        if not hasattr(target, part):
            raise UsageError(f"{at}: {printable(source)} has no {printable(name)!r}{_alternatives(name, module)}")
        target = getattr(target, part)
    if not callable(target):
        raise UsageError(f"{at}: is a {type(target).__name__}, expected something to call")
    found: Callable[..., Any] = target
    return found


@contextlib.contextmanager
def user_code(reference: str) -> Iterator[None]:
    """Give the user's code its own folder to import from, and keep what it prints out of the report."""
    source = reference.rpartition(":")[0]
    folder = str(Path(source).resolve().parent if _is_file(source) else Path.cwd())
    sys.path.insert(0, folder)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        with contextlib.suppress(ValueError):  # the code may have taken it out itself
            sys.path.remove(folder)


def in_one_line(error: BaseException) -> str:
    """Return type and first line of an exception, safe to show."""
    message = printable(str(error).strip().partition("\n")[0])
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _is_file(source: str) -> bool:
    return source.endswith(".py") or "/" in source or os.sep in source


def _from_file(path: Path, at: str) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"{at}: there is no file {printable(str(path))}")
    # A name of its own: a user's `types.py` must not take the place of the standard one.
    name = f"_user_code_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{at}: {printable(path.name)} is not a Python file; its name must end with .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while the file still runs
    try:
        spec.loader.exec_module(module)
    except BaseException:  # sys.exit in the user's file too: no half-imported module stays behind
        del sys.modules[name]
        raise
    return module


def _alternatives(name: str, module: ModuleType) -> str:
    """Name the callables that the file itself defines, not those that it imports."""
    known = [
        known
        for known, value in vars(module).items()
        if callable(value) and not known.startswith("_") and getattr(value, "__module__", "") == module.__name__
    ]
    return did_you_mean(name, known) if known else "; it defines nothing that can be called"
