"""The pieces of row groups and record batches that were read last, in a bounded amount of memory."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from collapsecheck.datasets.arrow_parts import Part
from collapsecheck.datasets.kinds import UnreadableItemError

HELD_BYTES = 128 * 2**20


@dataclass(slots=True, kw_only=True)
class _Unit:
    """How far a unit was read, and what is held of it: the first row and the record batch of each piece."""

    rest: Iterator[Any]
    starts: list[int] = field(default_factory=list)
    pieces: list[Any] = field(default_factory=list)
    end: int = 0


class Pieces:
    """Pieces of units by row; a step back beyond what is held begins at the start of the unit again."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._units: OrderedDict[tuple[int, int], _Unit] = OrderedDict()
        self._bytes = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"_columns": self._columns, "_units": OrderedDict(), "_bytes": 0}

    def at(self, part: Part, key: tuple[int, int], row: int) -> tuple[int, Any]:
        """Return the piece that holds this row of a unit, and the row that it begins with.

        Raises
        ------
        UnreadableItemError
            If the unit ends before.
        """
        held = self._units.get(key)
        if held is None or (held.starts and row < held.starts[0]):
            self.forget(key)
            held = self._units[key] = _Unit(rest=part.read(key[1], self._columns))
        self._units.move_to_end(key)
        while row >= held.end:
            piece = next(held.rest, None)
            if piece is None:
                raise UnreadableItemError("the file holds fewer rows than it declares")
            held.starts.append(held.end)
            held.pieces.append(piece)
            held.end += piece.num_rows
            self._bytes += piece.nbytes
            self._make_room(held)
        found = bisect_right(held.starts, row) - 1
        return held.starts[found], held.pieces[found]

    def forget(self, key: tuple[int, int]) -> None:
        """Drop a unit, for example after an error in it."""
        held = self._units.pop(key, None)
        self._bytes -= sum(piece.nbytes for piece in held.pieces) if held is not None else 0

    def _make_room(self, current: _Unit) -> None:
        while self._bytes > HELD_BYTES:
            oldest = next(iter(self._units))
            if self._units[oldest] is not current:
                self.forget(oldest)
            elif len(current.pieces) > 1:
                self._bytes -= current.pieces.pop(0).nbytes
                del current.starts[0]
            else:
                return
