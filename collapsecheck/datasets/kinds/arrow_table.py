"""Tables of parquet and Arrow files, and of Hugging Face's `save_to_disk`."""

from __future__ import annotations

import json
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collapsecheck.datasets.folders import first_bytes
from collapsecheck.datasets.kinds import DataKind, Items
from collapsecheck.datasets.open_options import NO_OPTIONS, OpenOptions
from collapsecheck.datasets.own_labels import NO_LABELS
from collapsecheck.datasets.pictures import PIXEL_LIMIT
from collapsecheck.datasets.row_names import RowNames
from collapsecheck.datasets.saved_datasets import SUFFIXES, TableFiles, is_table_folder, table_files
from collapsecheck.datasets.table_columns import ColumnKind, choose_columns, label_column, note_on
from collapsecheck.errors import NotMeasuredError, UsageError, printable

if TYPE_CHECKING:
    from collapsecheck.datasets.arrow_parts import Part

MAGICS = (b"PAR1", b"ARROW1", b"FEA1")
STREAM = b"\xff\xff\xff\xff"  # an Arrow stream has no magic but its first message's mark
MOST_METADATA = 2**20


class ArrowTable(DataKind):
    """A parquet, Arrow or Feather file, a folder of them, or a data set that Hugging Face's `save_to_disk` wrote.

    Images are structs with `bytes` or binary cells, rows are lists of numbers or all columns of numbers together,
    texts are strings. Labels come from a column called label, labels, class or target.
    """

    options = frozenset({"column", "max_pixels"})
    expects = "a parquet, Arrow or Feather file or a folder of them, or a folder of Hugging Face's save_to_disk"

    def recognises(self, path: Path) -> bool:
        """Magic bytes of a file, an Arrow stream with its suffix, or a folder of such files."""
        if path.is_dir():
            return is_table_folder(path)
        start = first_bytes(path, 6)
        return start.startswith(MAGICS) or (start.startswith(STREAM) and path.suffix.lower() in SUFFIXES)

    def open(self, path: Path, options: OpenOptions = NO_OPTIONS) -> Items:
        """Read the metadata, choose the column and read the labels."""
        at = printable(str(path))
        if find_spec("pyarrow") is None:
            raise UsageError(f"{at}: parquet and Arrow need pyarrow: pip install 'collapsecheck[arrow]'")
        from collapsecheck.datasets.arrow_cells import Cells, columns_of
        from collapsecheck.datasets.arrow_items import TablePictures, TableRows, labels_of, one_cell
        from collapsecheck.datasets.arrow_parts import DamagedTableError

        files = table_files(path) if path.is_dir() else TableFiles(paths=[path], features={})
        parts = [_part(file) for file in files.paths]
        schema = parts[0].schema
        for file, part in zip(files.paths, parts, strict=True):
            if not part.schema.equals(schema):
                raise UsageError(f"{printable(str(file))}: its columns differ from those of {files.paths[0].name}")
        if not any(sum(part.units) for part in parts):
            raise NotMeasuredError(f"{at}: the table has no rows")
        try:
            columns = columns_of(schema)
        except DamagedTableError as error:
            raise NotMeasuredError(f"{at}: damaged table: {error}") from error
        if len(columns) < len(schema):
            raise UsageError(f"{at}: two columns have the same name")
        kind, inputs = choose_columns(columns, options.column, at)
        label = label_column(columns, inputs)
        cells = Cells(parts, inputs)
        features = files.features or _features(schema.metadata)
        try:
            own = NO_LABELS if label is None else labels_of(cells, label, features.get(label))
        except DamagedTableError as error:
            raise NotMeasuredError(f"{at}: damaged table: {error}") from error
        items: Items
        if kind is ColumnKind.PICTURE:
            items = TablePictures(cells, own, options.max_pixels or PIXEL_LIMIT)
        elif kind is ColumnKind.TEXT:
            from collapsecheck.datasets.table_texts import TableTexts

            items = TableTexts(RowNames(len(cells)), partial(one_cell, cells, own), own)
        else:
            shape = getattr(schema.field(inputs[0]).type, "shape", None)  # of the type `fixed_shape_tensor`
            items = TableRows(cells, own, lists=kind is ColumnKind.ROW, shape=tuple(shape) if shape else None)
        chosen = note_on(inputs, label if own.labels is not None else None)
        items.note = f"{files.note}, {chosen}" if files.note else chosen
        return items


def _part(path: Path) -> Part:
    from collapsecheck.datasets.arrow_parts import DamagedTableError, open_part

    start = first_bytes(path, 64)
    shown = printable(str(path))
    if not start:
        raise NotMeasuredError(f"{shown}: the file is empty, or cannot be read")
    if start.startswith(b"version https://git-lfs"):
        raise NotMeasuredError(f"{shown}: a Git LFS pointer, not the data; run `git lfs pull`")
    if start.startswith(b"FEA1"):
        raise UsageError(f"{shown}: Feather version 1 is no longer read; write it again as parquet")
    try:
        return open_part(path, start)
    except DamagedTableError as error:
        raise NotMeasuredError(f"{shown}: damaged table: {error}") from error


def _features(metadata: Any) -> dict[str, Any]:
    """Return what Hugging Face's `datasets` wrote into the schema about the columns."""
    content = (metadata or {}).get(b"huggingface", b"")
    try:
        found = json.loads(content)["info"]["features"] if 0 < len(content) <= MOST_METADATA else {}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
