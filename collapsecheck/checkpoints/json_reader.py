"""JSON that lies beside weights: read whole, but only up to a size and a depth that honest files stay below."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collapsecheck.errors import NotLoadableError, printable

#: Bytes of a configuration; the largest that were seen list 20,000 names of classes in 2 MB.
LARGEST_CONFIG = 8 << 20
#: Bytes of an index of weights; some hundred bytes for each of 100,000 tensors.
LARGEST_INDEX = 32 << 20
_DEEPEST = 64
_MOST_CONTAINERS = 2_000_000  # an empty one takes three bytes of text, and sixty of memory


def regular_file(path: Path) -> Path:
    """Return the path of a file that can be opened without waiting.

    Raises
    ------
    NotLoadableError
        If there is none, or if it is a pipe or device.
    """
    if not path.is_file():
        state = "is not a regular file" if path.exists() else "is missing"
        raise NotLoadableError(f"{printable(path.name, 80)} {state}; copy or download the directory again")
    return path


def read_json(path: Path, limit: int = LARGEST_CONFIG) -> Any:
    """Return what a file of JSON holds.

    Raises
    ------
    NotLoadableError
        If it is missing, larger than `limit` bytes, too deep, or no JSON.
    """
    with regular_file(path).open("rb") as file:
        return parse_json(file.read(limit + 1), path.name, limit)


def parse_json(content: bytes, name: str, limit: int = LARGEST_CONFIG) -> Any:
    """Return what JSON in memory holds; `name` is what errors call it.

    Raises
    ------
    NotLoadableError
        As `read_json`.
    """
    name = printable(name, 80)
    if len(content) > limit:
        raise NotLoadableError(
            f"{name} has more than {limit >> 20} MiB, expected a short description in JSON; download it again"
        )
    if content.count(b"[") + content.count(b"{") > _MOST_CONTAINERS:
        raise NotLoadableError(f"{name} has more lists and objects than any honest one; download it again")
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, no text, or a number of 5,000 digits
        reason = "too deep" if isinstance(error, RecursionError) else printable(str(error), 80)
        raise NotLoadableError(f"{name} is not valid JSON ({reason}); copy or download it again") from error
    if _depth(parsed) > _DEEPEST:
        raise NotLoadableError(f"{name} is nested more than {_DEEPEST} deep, which no honest one is; download it again")
    return parsed


def mapping(value: Any, name: str) -> Mapping[str, Any]:
    """Return a parsed value that has to be a JSON object.

    Raises
    ------
    NotLoadableError
        If it is something else.
    """
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise NotLoadableError(
            f"{printable(name, 80)} holds a {kind}, expected an object in braces; copy or download it again"
        )
    return value


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level and depth <= _DEEPEST:
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += (each for each in one.values() if isinstance(each, dict | list))
            elif isinstance(one, list):
                inner += (each for each in one if isinstance(each, dict | list))
        level, depth = inner, depth + 1
    return depth
