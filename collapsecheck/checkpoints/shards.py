"""Weights in several files, and the index that says which tensor is in which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collapsecheck.checkpoints.directories import inside
from collapsecheck.checkpoints.formats import Contents, SafetyNote
from collapsecheck.checkpoints.json_reader import LARGEST_INDEX, mapping, read_json, regular_file
from collapsecheck.errors import NotLoadableError, printable

_MOST = 10_000  # files; the largest models that are published have some hundred
_SHOWN = 5

ReadShard = Callable[[Path], Contents]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index file: the shard of every tensor by name, and the notes beside them."""

    path: Path
    shards: Mapping[str, Path]
    metadata: Mapping[str, Any]


def is_index(head: bytes, path: Path) -> bool:
    """Whether a file is the index of shards, by what it holds."""
    if not head.lstrip().startswith(b"{") or path.stat().st_size > LARGEST_INDEX:
        return False
    try:
        found = read_json(path, LARGEST_INDEX)
    except NotLoadableError:
        return False
    return isinstance(found, dict) and isinstance(found.get("weight_map"), dict)


def read_index(path: Path) -> Index:
    """Return the index of shards in a file `*.index.json`; no shard is opened.

    Raises
    ------
    NotLoadableError
        If it is damaged, or names a file outside its directory, or one that is missing.
    """
    shown = printable(path.name, 80)
    parsed = mapping(read_json(path, LARGEST_INDEX), path.name)
    names = mapping(parsed.get("weight_map"), f"weight_map in {path.name}")
    if not names:
        raise NotLoadableError(f"{shown} lists no tensors; copy or download it again")
    if not all(isinstance(shard, str) for shard in names.values()):
        raise NotLoadableError(f"{shown} names a shard by something else than text; download it again")
    shards = list(dict.fromkeys(names.values()))
    if len(shards) > _MOST:
        raise NotLoadableError(f"{shown} names more than {_MOST:,} shards; download it again")
    files = {shard: _shard(path, shard) for shard in shards}
    missing = [shard for shard, file in files.items() if not file.exists()]
    if missing:
        listed = ", ".join(printable(name, 80) for name in missing[:_SHOWN])
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise NotLoadableError(
            f"{len(missing)} of {len(files)} shards are missing: {listed}{more}; copy or download them too"
        )
    notes = parsed.get("metadata")
    return Index(
        path=path,
        shards={name: files[shard] for name, shard in names.items()},
        metadata=notes if isinstance(notes, dict) else {},
    )


def _shard(index: Path, name: str) -> Path:
    file = inside(index.parent, name)
    if file is None:
        raise NotLoadableError(
            f"{printable(index.name, 80)} names the shard {printable(name, 80)}, which lies outside the directory; "
            "nothing was read; a shard has to be a plain name beside its index"
        )
    return file


def read_shards(index: Index, read: ReadShard) -> Contents:
    """Join what the shards hold to one mapping of names to tensors, in the order of the index.

    Raises
    ------
    NotLoadableError
        If a shard is damaged, or lacks a tensor that the index places there.
    """
    held: dict[Path, Mapping[Any, Any]] = {}
    notes: dict[SafetyNote, None] = {}
    for file in dict.fromkeys(index.shards.values()):
        try:
            contents = read(regular_file(file))
        except NotLoadableError as error:
            raise NotLoadableError(f"the shard {printable(file.name, 80)}: {error}") from error
        held[file] = contents.content if isinstance(contents.content, Mapping) else {}
        notes |= dict.fromkeys(contents.notes)
    absent = [name for name, file in index.shards.items() if name not in held[file]]
    if absent:
        name = absent[0]
        raise NotLoadableError(
            f"{printable(index.path.name, 80)} places {printable(name, 80)} in "
            f"{printable(index.shards[name].name, 80)}, which does not hold it ({len(absent)} such); "
            "index and shards are not of one download, get them again"
        )
    unlisted = sorted(str(name) for file, names in held.items() for name in names if name not in index.shards)
    if unlisted:
        notes[
            SafetyNote(
                id="unlisted-tensors",
                message="the shards hold tensors that the index does not list; they were left out",
                names=tuple(unlisted),
            )
        ] = None
    return Contents(
        content={name: held[file][name] for name, file in index.shards.items()},
        metadata=dict(index.metadata),
        notes=tuple(notes),
        files=(index.path, *held),
    )
