"""Dicts as a pickle makes them, which keep what a Python dict should not be given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_LARGEST_INTEGER = 1 << 63  # larger ones can be chosen to have one hash value in common


class RecordedDict(dict[Any, Any]):
    """A dict whose keys are plain values; what was set under any other key is in `pairs`, as (key, value).

    The hash value of nested tuples takes exponential time in a few hundred bytes of pickle.
    """

    __slots__ = ("_pairs",)
    _pairs: list[tuple[Any, Any]]

    @property
    def has_pairs(self) -> bool:
        """Whether there are any `pairs`; asking for them makes the list."""
        return hasattr(self, "_pairs")

    @property
    def pairs(self) -> list[tuple[Any, Any]]:
        """What has keys other than plain values."""
        if not self.has_pairs:
            self._pairs = []
        return self._pairs

    def record(self, key: Any, value: Any) -> None:
        """Set an entry, or record it."""
        if is_plain_key(key):
            self[key] = value
        else:
            self.pairs.append((key, value))


class AttributedDict(RecordedDict):
    """What was an OrderedDict, or a class of the author's: these have attributes besides their entries.

    Of them, only `_metadata` is kept, the versions that `Module.state_dict` notes.
    """

    __slots__ = ("_metadata",)
    _metadata: Any


def is_plain_key(key: Any) -> bool:
    """Whether the hash value of a key is quick and cannot be chosen; only exact types."""
    kind = type(key)
    if kind is int:
        return bool(-_LARGEST_INTEGER <= key < _LARGEST_INTEGER)
    return kind is str or kind is float or kind is bool or key is None


def are_plain_keys(values: Iterable[Any]) -> bool:
    """Whether all of them can be members of a set."""
    return all(map(is_plain_key, values))
