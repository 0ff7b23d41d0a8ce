"""Names of items that have none but their number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload


class RowNames(Sequence[str]):
    """Row numbers as text, made when asked for: a million of them would take 60 MB."""

    def __init__(self, count: int) -> None:
        self._rows = range(count)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        chosen = self._rows[index]
        return str(chosen) if isinstance(chosen, int) else [str(row) for row in chosen]
