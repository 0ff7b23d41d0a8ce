"""Finds the one class that each file of a plug-in folder defines; replaces every registry."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from types import ModuleType
from typing import TypeVar

Contract = TypeVar("Contract")


def identifier(module_name: str) -> str:
    """`collapsecheck.checks.mean_cosine` -> `mean-cosine`: the file's name is the id."""
    return module_name.rpartition(".")[2].replace("_", "-")


@cache
def plugins(package: ModuleType, contract: type[Contract]) -> dict[str, type[Contract]]:
    """All classes that fulfil `contract`, by id, in alphabetical order of their files.

    Raises
    ------
    TypeError
        If a file of the folder defines no such class, or more than one.
    """
    found = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        classes = [
            item
            for item in vars(module).values()
            if isinstance(item, type) and issubclass(item, contract) and item.__module__ == module.__name__
        ]
        if len(classes) != 1:
            raise TypeError(f"{module.__name__} must define exactly one {contract.__name__}, found {len(classes)}")
        found[identifier(module.__name__)] = classes[0]
    return found


def documentation(package_name: str) -> Iterator[tuple[str, str]]:
    """Yield (id, class docstring) of every plug-in by reading its source: nothing is imported.

    This is what keeps `collapsecheck explain` as fast as `--help`.
    """
    for entry in sorted(files(package_name).iterdir(), key=lambda item: item.name):
        if not entry.name.endswith(".py") or entry.name.startswith("_"):
            continue
        tree = ast.parse(entry.read_text(encoding="utf-8"))
        docstring = next((ast.get_docstring(node) for node in tree.body if isinstance(node, ast.ClassDef)), None)
        yield identifier(entry.name.removesuffix(".py")), docstring or ""
