"""Which files a tar archive holds, and where; nothing is extracted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from collapsecheck.errors import NotLoadableError, printable

_BLOCK = 512
_MOST = 100_000  # members that are looked at; a data set may have millions
_FILE = (b"0", b"\0", b"7")


@dataclass(frozen=True, slots=True)
class TarMember:
    """A file in the archive: where its bytes begin in the archive, and how many they are."""

    offset: int
    size: int


def is_tar(head: bytes) -> bool:
    """Whether a file with these leading bytes is a tar archive, of POSIX or GNU."""
    return head[257:262] == b"ustar"


def tar_members(path: Path, most: int = _MOST) -> Mapping[str, TarMember]:
    """Return the plain files among the first `most` members, by name; of two with one name, the error.

    Raises
    ------
    NotLoadableError
        If the archive is damaged.
    """
    found: dict[str, TarMember] = {}
    whole = path.stat().st_size
    at = 0
    with path.open("rb") as file:
        for _ in range(most):
            file.seek(at)
            header = file.read(_BLOCK)
            if len(header) < _BLOCK or not header.strip(b"\0"):
                break
            size = _number(header[124:136])
            if size is None or not _checks(header) or at + _BLOCK + size > whole:
                raise NotLoadableError("truncated or damaged tar archive; copy or download it again")
            if header[156:157] in _FILE:
                name = header[:100].partition(b"\0")[0].decode("utf-8", "surrogateescape").removeprefix("./")
                if name in found:
                    shown = printable(name, 80)
                    raise NotLoadableError(f"the member {shown} is in the tar archive twice; pack it again")
                found[name] = TarMember(at + _BLOCK, size)
            at += _BLOCK + -(-size // _BLOCK) * _BLOCK
    return found


def _number(field: bytes) -> int | None:
    if field[:1] == b"\x80":  # GNU writes large numbers in binary
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        return None


def _checks(header: bytes) -> bool:
    declared = _number(header[148:156])
    return declared == sum(header[:148]) + 8 * ord(" ") + sum(header[156:])
