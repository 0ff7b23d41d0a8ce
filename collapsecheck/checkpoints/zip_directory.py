"""The directory of a zip file, entry by entry, compared with what stands in front of each member."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from collapsecheck.errors import NotLoadableError, printable

DAMAGED = "truncated or damaged zip file; copy or download it again"
STORED, DEFLATED = 0, 8

_LARGEST_DIRECTORY = 256 << 20  # bytes; about two million members
_ENCRYPTED, _UTF8 = 0x1, 0x800
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_SHORT, _LONG = 0xFFFF, 0xFFFFFFFF  # what stands for a number that does not fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file in an archive: its bytes begin at `offset` of the archive; `size` is what they are unpacked."""

    offset: int
    packed: int
    size: int
    method: int

    @property
    def compressed(self) -> bool:
        """Whether the bytes in the archive are others than those that were put in."""
        return self.method != STORED


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    name: str
    raw: bytes
    header: int
    packed: int
    size: int
    method: int

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/") and not self.size


def read_directory(file: BinaryIO, size: int) -> dict[str, Member]:
    """Return the members by name; folders are left out.

    Raises
    ------
    NotLoadableError
        If the archive is damaged, does not fill the file, or could be read in two ways.
    """
    try:
        entries, start = _entries(file, size)
        return _placed(file, entries, start)
    except (struct.error, ValueError) as error:  # no such text, or a place that no file has
        raise NotLoadableError(DAMAGED) from error


def _entries(file: BinaryIO, size: int) -> tuple[list[_Entry], int]:
    start, length, count = _bounds(file, size)
    file.seek(start)
    directory = file.read(length)
    entries: list[_Entry] = []
    names: set[str] = set()
    at = 0
    for _ in range(count):
        entry, at = _entry(directory, at)
        if entry.name in names:
            raise NotLoadableError(
                f"the member {printable(entry.name)} is in the zip file twice; save or pack it again"
            )
        names.add(entry.name)
        entries.append(entry)
    if at != length:
        raise NotLoadableError(DAMAGED)
    return entries, start


def _placed(file: BinaryIO, entries: list[_Entry], directory: int) -> dict[str, Member]:
    """Follow each entry to its member: it must be the one of that name, and end before the next begins."""
    in_file = sorted(entries, key=lambda entry: entry.header)
    begins = [entry.header for entry in in_file] + [directory]
    if begins[0] != 0:
        raise NotLoadableError("foreign bytes are in front of the zip file; copy or download it again")
    offsets: dict[str, int] = {}
    for entry, end in zip(in_file, begins[1:], strict=True):
        file.seek(entry.header)
        header = file.read(_LOCAL.size + len(entry.raw))
        mark, _, _, method, *_, name_length, extra_length = _LOCAL.unpack_from(header)
        same = mark == b"PK\x03\x04" and method == entry.method and name_length == len(entry.raw)
        offset = entry.header + _LOCAL.size + name_length + extra_length
        if not same or header[_LOCAL.size :] != entry.raw or offset + entry.packed > end:
            raise NotLoadableError(DAMAGED)
        offsets[entry.name] = offset
    return {
        entry.name: Member(offset=offsets[entry.name], packed=entry.packed, size=entry.size, method=entry.method)
        for entry in entries
        if not entry.is_folder
    }


def _bounds(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """Return (start, bytes, entries) of the directory, which has to end where the record of the end begins."""
    tail_length = min(size, _END.size + _SHORT)
    file.seek(size - tail_length)
    tail = file.read(tail_length)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0:
        raise NotLoadableError(DAMAGED)
    *_, count, length, start, comment = _END.unpack_from(tail, at)
    end = size - tail_length + at
    if end + _END.size + comment != size:
        raise NotLoadableError(DAMAGED)
    behind = end
    if end >= _LOCATOR.size + _END_64.size:
        file.seek(end - _LOCATOR.size)
        mark, _, long_end, _ = _LOCATOR.unpack(file.read(_LOCATOR.size))
        if mark == b"PK\x06\x07":
            file.seek(long_end)
            mark, *_, long_count, long_length, long_start = _END_64.unpack(file.read(_END_64.size))
            agree = (
                count in (long_count, _SHORT) and length in (long_length, _LONG) and start in (long_start, _LONG)
            )  # fmt: skip
            if mark != b"PK\x06\x06" or not agree or long_end + _END_64.size > end - _LOCATOR.size:
                raise NotLoadableError(DAMAGED)
            count, length, start, behind = long_count, long_length, long_start, long_end
    if start + length != behind or length > _LARGEST_DIRECTORY or count * _CENTRAL.size > length:
        raise NotLoadableError(DAMAGED)
    return start, length, count


def _entry(directory: bytes, at: int) -> tuple[_Entry, int]:
    """Return the entry at a place in the directory, and where the next one begins."""
    (
        mark, _, _, flags, method, _, _, _, packed, size, name_length, extra_length, comment_length, _, _, _, header,
    ) = _CENTRAL.unpack_from(directory, at)  # fmt: skip
    at += _CENTRAL.size
    raw = directory[at : at + name_length]
    at += name_length
    extra = directory[at : at + extra_length]
    at += extra_length + comment_length
    if mark != b"PK\x01\x02" or at > len(directory):
        raise NotLoadableError(DAMAGED)
    name = raw.decode("utf-8" if flags & _UTF8 else "cp437")
    size, packed, header = _long_sizes(extra, size, packed, header)
    entry = _Entry(name=name, raw=raw, header=header, packed=packed, size=size, method=method)
    if flags & _ENCRYPTED:
        raise NotLoadableError(f"the member {printable(name)} is encrypted; pack the archive without a password")
    parts = (name[:-1] if entry.is_folder else name).split("/")
    if {"", ".", ".."} & set(parts) or "\\" in name or "\0" in name:
        raise NotLoadableError(f"the member {printable(name)} would lie outside the archive; save or pack it again")
    if method == STORED and size != packed:
        raise NotLoadableError(DAMAGED)
    return entry, at


def _long_sizes(extra: bytes, *short: int) -> tuple[int, int, int]:
    """Replace sizes that do not fit four bytes by those of the zip64 field, which come in the same order."""
    values = list(short)
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            field = extra[at + 4 : at + 4 + length]
            places = [index for index, value in enumerate(values) if value == _LONG]
            for position, index in enumerate(places):
                (values[index],) = struct.unpack_from("<Q", field, 8 * position)
            break
        at += 4 + length
    return values[0], values[1], values[2]
