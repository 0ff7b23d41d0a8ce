"""Which files make up a folder of tables: Hugging Face's `save_to_disk`, or parquet files side by side."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collapsecheck.errors import NotMeasuredError, UsageError, printable

STATE, INFO, SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"
SUFFIXES = (".parquet", ".arrow", ".feather")
MOST_JSON = 16 * 2**20

_SHARD = re.compile(r"^(.+?)-\d+-of-\d+")  # train-00000-of-00003.parquet


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFiles:
    """Files in order, what the folder says about the columns, and which part of it was taken."""

    paths: list[Path]
    features: dict[str, Any]
    note: str = ""


def is_table_folder(folder: Path) -> bool:
    """Whether a folder holds tables, at its top or in `data/`."""
    if (folder / SPLITS).is_file() or ((folder / STATE).is_file() and (folder / INFO).is_file()):
        return True
    return bool(_side_by_side(folder))


def table_files(folder: Path) -> TableFiles:
    """List the files of a folder of tables.

    Where it has several splits, `train` is taken, else the first.

    Raises
    ------
    UsageError
        If it names files outside itself.
    NotMeasuredError
        If it is damaged, or a file is missing.
    """
    if (folder / SPLITS).is_file():
        names = _json(folder / SPLITS).get("splits")
        splits = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
        split = _choice(splits)
        if split is None:
            raise NotMeasuredError(f"{_shown(folder)}: {SPLITS} names no splits")
        saved = _saved(_inside(folder, split))
        return TableFiles(paths=saved.paths, features=saved.features, note=_split_note(split, splits))
    if (folder / STATE).is_file():
        return _saved(folder)
    found = _side_by_side(folder)
    by_split: dict[str, list[Path]] = {}
    for path in found:
        match = _SHARD.match(path.name)
        by_split.setdefault(match[1] if match else "", []).append(path)
    split = _choice(list(by_split))
    if split and len(by_split) > 1 and "" not in by_split:
        return TableFiles(paths=by_split[split], features={}, note=_split_note(split, list(by_split)))
    return TableFiles(paths=found, features={})


def _saved(folder: Path) -> TableFiles:
    state = _json(folder / STATE)
    files = state.get("_data_files")
    names = [one.get("filename") for one in files if isinstance(one, dict)] if isinstance(files, list) else []
    paths = [_inside(folder, name) for name in names if isinstance(name, str)]
    if not paths or len(paths) != len(names):
        raise NotMeasuredError(f"{_shown(folder)}: {STATE} names no data files")
    features = _json(folder / INFO).get("features") if (folder / INFO).is_file() else None
    return TableFiles(paths=paths, features=features if isinstance(features, dict) else {})


def _inside(folder: Path, name: str) -> Path:
    if not name or name in {".", ".."} or "/" in name or "\\" in name or "\0" in name:
        raise UsageError(f"{_shown(folder)}: names {printable(name)!r}, expected a plain name inside the folder")
    path = folder / name
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{_shown(folder)}: {printable(name)} is a link to outside the folder")
    if not path.exists():
        raise NotMeasuredError(f"{_shown(folder)}: {printable(name)} is missing")
    return path


def _json(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_JSON + 1)
        held = json.loads(content) if len(content) <= MOST_JSON else None
    except (OSError, ValueError, RecursionError) as error:
        raise NotMeasuredError(f"{_shown(path)}: cannot be read as JSON") from error
    if not isinstance(held, dict):
        raise NotMeasuredError(f"{_shown(path)}: expected a JSON object of at most {MOST_JSON} bytes")
    return held


def _side_by_side(folder: Path) -> list[Path]:
    for below in (folder, folder / "data"):
        for suffix in SUFFIXES:
            found = sorted(path for path in below.glob(f"*{suffix}") if path.is_file() and path.name[0] != ".")
            if found:
                return found
    return []


def _choice(splits: list[str]) -> str | None:
    return "train" if "train" in splits else next(iter(splits), None)


def _split_note(split: str, splits: list[str]) -> str:
    others = [printable(name, 40) for name in splits if name != split]
    return f"split {printable(split, 40)}" + (f" (not {', '.join(others)})" if others else "")


def _shown(path: Path) -> str:
    return printable(str(path))
