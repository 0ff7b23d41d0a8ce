"""Where the members of a tar file lie; nothing is extracted, and no declared size is believed.

The standard library's `TarFile` reads extended headers of any declared length into memory, so only its parser of
single header blocks is used.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from collapsecheck.datasets.folders import first_bytes

BLOCK = 512
LONGEST_HEADER = 2**20  # an extended header holds a path and a few numbers
GZIP = b"\x1f\x8b"

_REGULAR = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE})
_WITHOUT_CONTENT = frozenset(
    {tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE}
)
_RECORD = re.compile(rb"(\d{1,9}) ([^=\n]{1,200})=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A regular file in a tar: its name as written, and the bytes that hold it.

    `problem` says why it cannot be read, where that shows from the headers.
    """

    name: str
    offset: int
    size: int
    problem: str | None = None


def is_tar(path: Path) -> bool:
    """Whether a file begins with a valid tar header."""
    try:
        tarfile.TarInfo.frombuf(first_bytes(path, BLOCK), "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def members(path: Path) -> Iterator[Member]:
    """Yield the regular files of a tar in their order; a damaged header ends it as one more, broken member."""
    end = path.stat().st_size
    with path.open("rb") as file:
        extended: dict[str, str] = {}
        at = 0
        while block := _block(file, at):
            if not block.strip(b"\0"):  # the end, or what is left of it
                return
            try:
                header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except (tarfile.HeaderError, ValueError) as error:
                yield _broken(at, f"damaged tar header: {error}")
                return
            start = at + BLOCK
            size, name = _described(header, extended)
            if size < 0:
                yield _broken(at, "a tar header declares a negative size")
                return
            if header.type in {tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME}:
                if size > LONGEST_HEADER or start + size > end:
                    yield _broken(at, f"an extended tar header declares {size} bytes")
                    return
                content = _read(file, start, size)
                if header.type == tarfile.GNUTYPE_LONGNAME:
                    extended["path"] = content.rstrip(b"\0").decode("utf-8", "surrogateescape")
                else:
                    extended |= _records(content)
            else:
                if header.type in _REGULAR:
                    yield Member(name=name, offset=start, size=size, problem=_problem(size, start, end, extended))
                # Global headers hold defaults of no interest, and the long names of links precede links only.
                extended = extended if header.type in {tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK} else {}
            skipped = 0 if header.type in _WITHOUT_CONTENT else -(-size // BLOCK) * BLOCK
            at = start + skipped
            if at > end:  # what was cut off may have been the padding alone
                return


def _block(file: BinaryIO, at: int) -> bytes:
    return _read(file, at, BLOCK)


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)


def _described(header: tarfile.TarInfo, extended: dict[str, str]) -> tuple[int, str]:
    """Size and name, as an extended header before this one may have changed them."""
    if header.type in {tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE}:
        return header.size, header.name
    given = extended.get("size", "")
    size = int(given) if given.isascii() and given.isdecimal() and len(given) < 20 else header.size
    return size, extended.get("path", header.name)


def _records(content: bytes) -> dict[str, str]:
    """Parse the `length key=value` records of a pax header, as far as they are valid."""
    found: dict[str, str] = {}
    at = 0
    while (match := _RECORD.match(content, at)) is not None:
        length = int(match[1])
        if length <= match.end() - at or at + length > len(content):
            break
        value = content[match.end() : at + length - 1]
        found[match[2].decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        at += length
    return found


def _problem(size: int, start: int, end: int, extended: dict[str, str]) -> str | None:
    if any(key.startswith("GNU.sparse") for key in extended):
        return "a sparse member, which is not supported"
    if start + size > end:
        return f"declares {size} bytes, but the tar ends {end - start} bytes after its header"
    return None


def _broken(at: int, problem: str) -> Member:
    return Member(name=f"byte {at}", offset=at, size=0, problem=problem)
