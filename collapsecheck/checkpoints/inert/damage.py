"""The error for what no pickler writes."""

from __future__ import annotations

from collapsecheck.errors import NotLoadableError


def damaged(reason: str) -> NotLoadableError:
    """Return the error for instructions that make no sense, with the reason in a few words."""
    return NotLoadableError(f"truncated or damaged pickle ({reason}); copy or download the file again")
