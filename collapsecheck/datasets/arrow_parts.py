"""Files of Arrow tables, read piece by piece; what they declare about themselves is checked before it is used."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from collapsecheck.datasets.own_handle import OwnHandle
from collapsecheck.errors import printable

PARQUET, ARROW, FEATHER_1 = b"PAR1", b"ARROW1", b"FEA1"
CONTINUATION = b"\xff\xff\xff\xff"  # how an Arrow stream begins
PIECE_ROWS = 64  # of a parquet file in memory at a time: images may have megabytes
MOST_ROWS = 2**27
MOST_ROWS_A_BYTE = 1000  # even rows that are all equal take more than a thousandth of a byte each

Failures = (pa.ArrowException, OSError, MemoryError, KeyError, ValueError)


class DamagedTableError(Exception):
    """A file declares what cannot be true, or cannot be parsed; the message says what."""


class Part(ABC):
    """One file. `units` are the numbers of rows of what can be read by itself: row groups or record batches."""

    schema: Any  # pyarrow.Schema
    units: list[int]

    @abstractmethod
    def read(self, unit: int, columns: Sequence[str]) -> Iterator[Any]:
        """Yield the record batches of a unit with these columns."""


class ParquetPart(Part):
    """A parquet file."""

    def __init__(self, path: Path) -> None:
        # Neither threads nor read-ahead: a fork would leave their locks held for ever.
        self._file: OwnHandle[Any] = OwnHandle(partial(pq.ParquetFile, str(path), memory_map=True, pre_buffer=False))
        metadata = self._file().metadata
        self.schema = self._file().schema_arrow
        self.units = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        if sum(self.units) != metadata.num_rows:
            raise DamagedTableError(f"declares {metadata.num_rows} rows, but its row groups declare {sum(self.units)}")
        check_counts(self.units, path)

    def read(self, unit: int, columns: Sequence[str]) -> Iterator[Any]:
        """Decode a few rows at a time."""
        batches = self._file().iter_batches(PIECE_ROWS, row_groups=[unit], columns=list(columns), use_threads=False)
        yield from (batch.select(list(columns)) for batch in batches)


class ArrowPart(Part):
    """An Arrow file (Feather version 2 is the same) or stream, mapped into memory."""

    def __init__(self, path: Path, stream: bool) -> None:
        self._open = partial(_open_arrow, str(path), stream)
        self._batches: dict[tuple[str, ...], OwnHandle[list[Any]]] = {}
        self._checked: set[tuple[int, tuple[str, ...]]] = set()
        reader, batches = self._open(None)
        self.schema = reader.schema
        self.units = [batch.num_rows for batch in batches]
        check_counts(self.units, path)

    def read(self, unit: int, columns: Sequence[str]) -> Iterator[Any]:
        """Return the batch as it is mapped; its offsets are checked first, for the library would follow them."""
        key = tuple(columns)
        if key not in self._batches:
            fields = [self.schema.get_field_index(name) for name in columns]
            self._batches[key] = OwnHandle(partial(_batches, self._open, fields))
        batch = self._batches[key]()[unit]
        if (unit, key) not in self._checked:
            batch.validate(full=True)
            self._checked.add((unit, key))
        yield batch.select(list(columns))


def open_part(path: Path, start: bytes) -> Part:
    """Open one file by its first bytes.

    Raises
    ------
    DamagedTableError
        If it cannot be parsed.
    """
    try:
        if start.startswith(PARQUET):
            return ParquetPart(path)
        return ArrowPart(path, stream=not start.startswith(ARROW))
    except Failures as error:
        raise DamagedTableError(printable(str(error).partition("\n")[0]) or type(error).__name__) from error


def check_counts(units: Sequence[int], path: Path) -> None:
    """Refuse numbers of rows that the file cannot hold."""
    most = min(MOST_ROWS, MOST_ROWS_A_BYTE * path.stat().st_size)
    if min(units, default=0) < 0 or sum(units) > most:
        raise DamagedTableError(f"declares {sum(units)} rows in {path.stat().st_size} bytes")


def _open_arrow(path: str, stream: bool, fields: list[int] | None) -> tuple[Any, list[Any]]:
    options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=fields)
    source = pa.memory_map(path)
    if stream:
        reader = pa.ipc.open_stream(source, options=options)
        return reader, list(reader)
    reader = pa.ipc.open_file(source, options=options)
    return reader, [reader.get_batch(i) for i in range(reader.num_record_batches)]


def _batches(opener: Any, fields: list[int]) -> list[Any]:
    batches: list[Any] = opener(fields)[1]
    return batches
