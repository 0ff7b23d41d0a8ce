"""What torch 0.1 wrote: a tar archive of `storages`, `tensors` and `pickle`, which refer to one another by number.

`storages` is a count, then for each storage a pickled (number, device, class), its length in eight bytes and its
numbers; then the pickled list of views of storages. `tensors` is a count, then for each tensor a pickled (number,
number of its storage, class), its dimensions in four bytes and four to spare, its sizes, its strides and where in the
storage it begins, in eight bytes each. In `pickle`, a persistent id is the number of a tensor or of a storage. All is
little-endian.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

from collapsecheck.checkpoints.formats import SafetyNote
from collapsecheck.checkpoints.inert import LARGEST_PICKLE, Storage, run, settle, storage_of
from collapsecheck.checkpoints.records import Name, Stand
from collapsecheck.checkpoints.tar_archive import tar_members
from collapsecheck.errors import NotLoadableError

MEMBERS = frozenset({"storages", "tensors", "pickle"})

_MOST_MEMBERS = 100
_MOST_DIMENSIONS = 64
_SHORT = 10_000  # bytes of the pickle in front of one storage or tensor


def is_torch_tar(path: Path) -> bool:
    """Whether a tar archive has the members that torch 0.1 wrote."""
    try:
        return tar_members(path, _MOST_MEMBERS).keys() >= MEMBERS
    except NotLoadableError:
        return False


def read_tar(path: Path) -> tuple[Any, tuple[SafetyNote, ...]]:
    """Return what was saved, its tensors mapped, and notes about it.

    Raises
    ------
    NotLoadableError
        If it is damaged, hostile, or declares more than it has bytes.
    """
    members = tar_members(path, _MOST_MEMBERS)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
        reader = {name: _Reader(held, members[name].offset, members[name].size) for name in MEMBERS}
        storages, places = _storages(reader["storages"])
        tensors = _tensors(reader["tensors"], storages)

        def persistent(saved: Any) -> Any:
            if type(saved) is tuple and saved and type(saved[0]) is Name:  # a class, beside its source code
                return saved[0]
            found = tensors.get(_number(saved), storages.get(_number(saved)))
            if found is None:
                raise _damaged()
            return found

        begin = reader["pickle"]
        outcome = run(held, start=begin.at, largest=min(begin.end - begin.at, LARGEST_PICKLE), persistent=persistent)
        return settle(outcome, file=path, locate=lambda storage: places[storage.key])


class _Reader:
    """Takes pickles and numbers in turn from one member."""

    def __init__(self, held: mmap.mmap, offset: int, size: int) -> None:
        self._held = held
        self.at, self.end = offset, offset + size

    def pickled(self, largest: int = _SHORT) -> Any:
        outcome = run(self._held, start=self.at, largest=min(largest, self.end - self.at))
        self.at = outcome.end
        return outcome.value

    def numbers(self, layout: str) -> tuple[int, ...]:
        begin = self.skip(struct.calcsize(layout))
        return struct.unpack_from(layout, self._held, begin)

    def skip(self, count: int) -> int:
        """Return where the next `count` bytes begin, and go behind them."""
        begin = self.at
        if count < 0 or begin + count > self.end:
            raise _damaged()
        self.at += count
        return begin


def _storages(reader: _Reader) -> tuple[dict[int, Storage], dict[str, tuple[int, int]]]:
    """Return the storages by number, and where in the file those lie that are no views."""
    found: dict[int, Storage] = {}
    kinds: dict[int, Name] = {}
    places: dict[str, tuple[int, int]] = {}
    for _ in range(_number(reader.pickled())):
        key, _, kind = _triple(reader.pickled())
        number = _number(key)
        (length,) = reader.numbers("<q")
        storage = storage_of(("storage", kind, str(number), "cpu", length))
        if number in found or not isinstance(storage, Storage):
            raise _damaged()
        found[number], kinds[number] = storage, kind
        size = length * storage.itemsize
        places[storage.key] = (reader.skip(size), size)
    views = reader.pickled(LARGEST_PICKLE)
    for view in views if type(views) is list else []:
        if type(view) is not tuple or len(view) != 4 or view[1] not in kinds:
            raise _damaged()
        number, root, offset, length = map(_number, view)
        whole = ("storage", kinds[root], str(root), "cpu", found[root].numel, (str(number), offset, length))
        storage = storage_of(whole)
        if isinstance(storage, Storage):
            found.setdefault(number, storage)
    return found, places


def _tensors(reader: _Reader, storages: dict[int, Storage]) -> dict[int, Stand]:
    """Return by number what would have made the tensors."""
    found: dict[int, Stand] = {}
    for _ in range(_number(reader.pickled())):
        key, root, _ = _triple(reader.pickled())
        (dimensions, _) = reader.numbers("<ii")
        if not 0 <= dimensions <= _MOST_DIMENSIONS or _number(root) not in storages:
            raise _damaged()
        shape, strides = (reader.numbers(f"<{dimensions}q") for _ in range(2))
        (offset,) = reader.numbers("<q")
        arguments = (storages[_number(root)], offset, shape, strides)
        found[_number(key)] = Stand(path="torch._utils._rebuild_tensor", arguments=arguments)
    return found


def _triple(value: Any) -> tuple[Any, Any, Any]:
    if type(value) is not tuple or len(value) != 3:
        raise _damaged()
    return value


def _number(value: Any) -> int:
    """Return an address or a count; persistent ids are the same as text."""
    if type(value) is str and value.isascii() and value.isdecimal() and len(value) <= 20:
        return int(value)
    if type(value) is not int or not 0 <= value < 1 << 64:
        raise _damaged()
    return value


def _damaged() -> NotLoadableError:
    return NotLoadableError("truncated or damaged checkpoint of torch 0.1; copy or download it again")
