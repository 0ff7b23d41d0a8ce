"""What torch.save wrote before torch 1.6: five pickles in a row, then the bytes of each storage behind its length."""

from __future__ import annotations

import mmap
import re
from pathlib import Path
from typing import Any

from collapsecheck.checkpoints.formats import SafetyNote
from collapsecheck.checkpoints.inert import LARGEST_PICKLE, Outcome, run, settle, storage_of
from collapsecheck.checkpoints.inert.machine import Buffer
from collapsecheck.checkpoints.inert.tensors import Storage
from collapsecheck.errors import NotLoadableError

# The number 0x1950a86a20f9469cfc6c as a pickle of any protocol; those from 4 on begin with a frame.
_MAGIC = re.compile(rb"\x80[\x02-\x05](?:\x95.{8})?\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\.", re.DOTALL)
_PROTOCOL = 1001
_DAMAGED = "truncated or damaged checkpoint; copy or download it again"


def is_legacy(head: bytes) -> bool:
    """Whether a file begins with torch's magic number, pickled."""
    return _MAGIC.match(head) is not None


def read_legacy(path: Path) -> tuple[Any, tuple[SafetyNote, ...]]:
    """Return what a file holds, its tensors mapped, and notes about it.

    Raises
    ------
    NotLoadableError
        If it is damaged, hostile, or declares more than it has bytes.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
        return read_legacy_bytes(held, path)


def read_legacy_bytes(held: Buffer, path: Path) -> tuple[Any, tuple[SafetyNote, ...]]:
    """Do the same for bytes that are in memory; the places of the tensors count from the first of them."""
    outcome, places = _parts(held)

    def locate(storage: Storage) -> tuple[int, int]:
        if storage.key not in places:
            raise NotLoadableError(_DAMAGED)
        return places[storage.key]

    return settle(outcome, file=path, locate=locate)


def storage_within(held: bytes) -> tuple[Storage, int]:
    """Return the one storage that a file in memory holds, and where in it its bytes begin.

    Raises
    ------
    NotLoadableError
        If it holds anything else, or is damaged.
    """
    outcome, places = _parts(held)
    storage = outcome.value
    if not isinstance(storage, Storage) or storage.key not in places:
        raise NotLoadableError(_DAMAGED)
    begin, size = places[storage.key]
    if size != storage.stored * storage.itemsize:
        raise NotLoadableError(_DAMAGED)
    return storage, begin


def _parts(held: Buffer) -> tuple[Outcome, dict[str, tuple[int, int]]]:
    """Run the pickles; return what they hold, and (offset, size) of the storages by key."""
    begun = _MAGIC.match(held)
    if begun is None:
        raise NotLoadableError(_DAMAGED)
    protocol = run(held, start=begun.end(), largest=1000)
    if protocol.value != _PROTOCOL:
        raise NotLoadableError("the file is of a release of torch that is not known; update collapsecheck")
    system = run(held, start=protocol.end, largest=10_000)
    storages: dict[str, Storage] = {}

    def persistent(saved: Any) -> Any:
        found = storage_of(saved)
        if isinstance(found, Storage):
            known = storages.setdefault(found.key, found)
            if (known.dtype, known.stored) != (found.dtype, found.stored):
                raise NotLoadableError(_DAMAGED)
        return found

    outcome = run(held, start=system.end, largest=LARGEST_PICKLE, persistent=persistent)
    keys = run(held, start=outcome.end, largest=LARGEST_PICKLE)
    return outcome, _places(held, keys.value, keys.end, storages)


def _places(held: Buffer, keys: Any, at: int, storages: dict[str, Storage]) -> dict[str, tuple[int, int]]:
    """Walk over the storages: each is its length in numbers, eight bytes little-endian, and their bytes."""
    places: dict[str, tuple[int, int]] = {}
    if type(keys) is not list:
        raise NotLoadableError(_DAMAGED)
    for key in keys:
        if type(key) is not str or key not in storages or key in places:
            raise NotLoadableError(_DAMAGED)
        length = int.from_bytes(held[at : at + 8], "little")
        size = length * storages[key].itemsize
        at += 8
        if at + size > len(held):
            raise NotLoadableError(_DAMAGED)
        places[key] = (at, size)
        at += size
    return places
