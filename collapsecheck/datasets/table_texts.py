"""A column of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from collapsecheck.datasets.kinds import Texts, UnreadableItemError
from collapsecheck.datasets.own_labels import OwnLabels


class TableTexts(Texts):
    """Texts out of the cells of a table; `cell` returns one of them and must be picklable."""

    def __init__(self, names: Sequence[str], cell: Callable[[int], Any], own: OwnLabels) -> None:
        self.names = names
        self.labels, self.classes = own.labels, own.classes
        self._cell = cell

    def read(self, item: int) -> str:
        """Return one text."""
        held = self._cell(item)
        if not isinstance(held, str):
            raise UnreadableItemError("the text is missing (null)")
        return held
