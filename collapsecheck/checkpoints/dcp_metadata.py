"""The `.metadata` of torch.distributed.checkpoint: which tensors there are, in which parts, and where those lie.

It is a pickle of the library's own dataclasses. Only these are admitted: their fields are read from the record of the
pickle, the classes themselves are not imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collapsecheck.checkpoints.directories import inside
from collapsecheck.checkpoints.inert.containers import RecordedDict
from collapsecheck.checkpoints.inert.machine import LARGEST_PICKLE, run
from collapsecheck.checkpoints.joined import is_shape
from collapsecheck.checkpoints.json_reader import regular_file
from collapsecheck.checkpoints.records import Name, Stand
from collapsecheck.checkpoints.stored import ITEMSIZE
from collapsecheck.errors import NotLoadableError, printable

_DATACLASSES = "torch.distributed.checkpoint.metadata."
_METADATA, _TENSOR, _BYTES = (
    f"{_DATACLASSES}{name}" for name in ("Metadata", "TensorStorageMetadata", "BytesStorageMetadata")
)
_PLACE = "torch.distributed.checkpoint.filesystem._StorageInfo"
_INDEX = f"{_DATACLASSES}MetadataIndex"
_ADMITTED = re.compile(
    r"torch\.distributed\.checkpoint\.metadata\."
    r"(?:Metadata|TensorStorageMetadata|BytesStorageMetadata|ChunkStorageMetadata|TensorProperties|MetadataIndex"
    r"|StorageMeta|_MEM_FORMAT_ENCODING)"
    r"|torch\.distributed\.checkpoint\.filesystem\._StorageInfo"
    # where torch 2.0 to 2.2 had them
    r"|torch\.distributed\._shard\.sharded_tensor\.metadata\.(?:TensorProperties|MEM_FORMAT_ENCODING)"
    r"|torch\.(?:Size|serialization\._get_layout|strided|[a-z]+\d+\w*|bool)"
    r"|collections\.OrderedDict|pathlib\.(?:_local\.)?(?:Pure)?(?:Posix|Windows)?Path"
)
_DAMAGED = "the file .metadata is damaged or of a release that is not known; save or copy it again"

Offsets = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the bytes of one part are."""

    file: Path
    offset: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorEntry:
    """A tensor of the checkpoint: for each of its parts where it begins in the tensor, and its sizes."""

    dtype: str
    shape: tuple[int, ...]
    chunks: tuple[tuple[Offsets, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What `.metadata` says. `entries` are by flattened name, None for what is no tensor.

    `paths` are the keys that led to an entry before the names were flattened; `places` are by (name, offsets of the
    part), the offsets None for what is no tensor.
    """

    entries: Mapping[str, TensorEntry | None]
    paths: Mapping[str, tuple[str | int, ...]]
    places: Mapping[tuple[str, Offsets | None], Place]


def read_metadata(directory: Path) -> Metadata:
    """Read the `.metadata` of a directory; no part is opened.

    Raises
    ------
    NotLoadableError
        If it is damaged, names a class that is not the library's, or a file outside the directory or missing.
    """
    with regular_file(directory / ".metadata").open("rb") as file:
        outcome = run(file.read(LARGEST_PICKLE + 1))
    foreign = [name for name in outcome.names if not _ADMITTED.fullmatch(name)]
    if foreign:
        shown = ", ".join(printable(name, 80) for name in foreign[:3])
        raise NotLoadableError(
            f"the file .metadata names {shown}, expected only what torch.distributed.checkpoint writes: nothing was "
            "executed; get the checkpoint from a source you trust"
        )
    fields = _fields(outcome.value, _METADATA)
    described, held = fields.get("state_dict_metadata"), fields.get("storage_data")
    if not isinstance(described, RecordedDict) or not isinstance(held, RecordedDict):
        raise NotLoadableError(_DAMAGED)
    entries = {_text(name): _entry(entry) for name, entry in described.items()}
    planned = fields.get("planner_data")
    paths = planned if isinstance(planned, dict) else {}
    return Metadata(
        entries=entries,
        paths={name: path for name, path in paths.items() if isinstance(name, str) and _is_path(path)},
        places=dict(_places(held, directory)),
    )


def _entry(entry: Any) -> TensorEntry | None:
    if isinstance(entry, Stand) and entry.path == _BYTES:
        return None
    fields = _fields(entry, _TENSOR)
    properties = fields.get("properties")
    state = properties.state if isinstance(properties, Stand) else None
    dtype = state[0] if isinstance(state, tuple) and len(state) >= 5 else None
    kind = dtype.path.removeprefix("torch.") if isinstance(dtype, Name) else ""
    if kind not in ITEMSIZE:
        raise NotLoadableError(f"a tensor has the type {printable(kind, 40) or 'none'}, which cannot be read")
    chunks = fields.get("chunks")
    if not isinstance(chunks, list):
        raise NotLoadableError(_DAMAGED)
    parts = [_fields(chunk, f"{_DATACLASSES}ChunkStorageMetadata") for chunk in chunks]
    return TensorEntry(
        dtype=kind,
        shape=_sizes(fields.get("size")),
        chunks=tuple((_sizes(part.get("offsets")), _sizes(part.get("sizes"))) for part in parts),
    )


def _places(held: RecordedDict, directory: Path) -> Iterator[tuple[tuple[str, Offsets | None], Place]]:
    files: dict[str, Path] = {}
    for key, value in held.pairs:
        index, stored = _fields(key, _INDEX), _fields(value, _PLACE)
        name, offset, length = (stored.get(field) for field in ("relative_path", "offset", "length"))
        if type(name) is not str or type(offset) is not int or type(length) is not int:
            raise NotLoadableError(_DAMAGED)
        if stored.get("transform_descriptors"):
            raise NotLoadableError("the parts are compressed or encrypted; save the checkpoint without extensions")
        if name not in files:
            files[name] = _part_file(directory, name)
        if offset < 0 or length < 0 or offset + length > files[name].stat().st_size:
            raise NotLoadableError(f"{printable(name, 80)} is shorter than .metadata says; copy or save it again")
        begin = index.get("offset")
        yield (
            (_text(index.get("fqn")), None if begin is None else _sizes(begin)),
            Place(file=files[name], offset=offset, length=length),
        )


def _part_file(directory: Path, name: str) -> Path:
    found = inside(directory, name)
    if found is None:
        raise NotLoadableError(
            f"the file .metadata names {printable(name, 80)}, which lies outside the directory; nothing was read from "
            "there; a part has to be a plain name in it"
        )
    return regular_file(found)


def _fields(value: Any, path: str) -> Mapping[Any, Any]:
    if not isinstance(value, Stand) or value.path != path or not isinstance(value.state, dict):
        raise NotLoadableError(_DAMAGED)
    return value.state


def _text(value: Any) -> str:
    if type(value) is not str:
        raise NotLoadableError(_DAMAGED)
    return value


def _sizes(value: Any) -> tuple[int, ...]:
    if type(value) is not tuple or not all(type(size) is int for size in value) or not is_shape(value):
        raise NotLoadableError(_DAMAGED)
    return value


def _is_path(path: Any) -> bool:
    return type(path) is tuple and bool(path) and all(type(part) in (str, int) for part in path)
