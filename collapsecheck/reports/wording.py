"""Counts, sizes and short lists of names in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from collapsecheck.errors import printable

_NAMES = 5


def counted(count: int, word: str) -> str:
    """`1 layer`, `1,200 layers`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def few(names: Sequence[object], limit: int = _NAMES) -> str:
    """The first names, escaped, and how many more there are."""
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(printable(str(name), 60) for name in names[:limit]) + more


def size_of(count: int) -> str:
    """Bytes in a unit that leaves at most four digits."""
    if count < 1024:
        return f"{count} B"
    size = count / 1024
    for unit in ("KiB", "MiB"):
        if size < 1000:
            return f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"
