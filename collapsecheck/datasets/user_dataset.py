"""A data set of the user's own code: `--dataset FILE_OR_MODULE:CALLABLE`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from collapsecheck.datasets.arrays import INPUT_KEYS
from collapsecheck.datasets.kinds import Items, Pictures, UnreadableItemError
from collapsecheck.datasets.open_options import NO_OPTIONS, OpenOptions, refuse_unused
from collapsecheck.datasets.own_handle import OwnHandle
from collapsecheck.datasets.own_labels import LABEL_COLUMNS, NO_LABELS, Label, OwnLabels, own_labels
from collapsecheck.datasets.row_names import RowNames
from collapsecheck.datasets.single_rows import PROBED, SingleRows
from collapsecheck.errors import NotMeasuredError, UsageError, did_you_mean, printable
from collapsecheck.user_code import in_one_line, load_callable, user_code

KIND = "user-dataset"
INPUTS = ("input", "image", "pixel_values", "input_ids", "text", *INPUT_KEYS)
LABELS = (*LABEL_COLUMNS, "y", "targets")
ATTRIBUTES = ("targets", "labels")  # where torchvision's data sets keep all labels
MOST_READ_FOR_LABELS = 10_000
MOST_ROWS = 2**27


def open_user_dataset(reference: str, labels: Path | str | None = None, options: OpenOptions = NO_OPTIONS) -> Items:
    """Call the user's code and take what it returns as items.

    Parameters
    ----------
    reference
        `FILE_OR_MODULE:CALLABLE`; returns a map-style data set (`len()` and `[i]`), whose items are a tensor, an
        array, a PIL image or a text, alone, as the first of a pair with the label, or in a dict.
    labels
        File of labels; takes the place of those of the data set.
    options
        `column` names the entry of a dict that is the input.

    Raises
    ------
    UsageError
        If the code fails or returns anything else.
    NotMeasuredError
        If the data set is empty, or none of its first items can be read.
    """
    options.validate()
    refuse_unused(options, frozenset({"column"}), KIND)
    source = Source(reference, options.column)
    first = source.first()
    items: Items
    if isinstance(first, Image.Image):
        items = UserPictures(source)
    elif isinstance(first, str):
        from collapsecheck.datasets.table_texts import TableTexts

        items = TableTexts(source.names, partial(_text, source), NO_LABELS)
    else:
        items = UserRows(source)
    items.kind = KIND
    if labels is not None:
        from collapsecheck.datasets.labels import read_labels

        items.labels, items.classes = read_labels(Path(labels), items.names)
    else:
        own = source.labels()
        source.missing = own.missing
        items.labels, items.classes, items.note = own.labels, own.classes, source.note
    return items


class Source:
    """The data set, built anew in each process that starts without the memory of this one."""

    def __init__(self, reference: str, column: str | None) -> None:
        self.at = f"--dataset {printable(reference)}"
        self.reference = reference
        self.column = column
        self.missing: frozenset[int] = frozenset()
        self.note = ""
        self._build = OwnCopy(partial(_build, reference))
        self.names = RowNames(self._count())

    def both(self, item: int) -> tuple[Any, Any]:
        """Return input and label (None without one) of one item.

        Raises
        ------
        UnreadableItemError
            If the user's code fails on it.
        """
        try:
            with user_code(self.reference):
                held = self._build()[item]
        except Exception as error:  # the user's own code may raise anything
            raise UnreadableItemError(in_one_line(error)) from error
        if isinstance(held, Mapping):
            return self._entry(held), next((held[name] for name in LABELS if name in held), None)
        if isinstance(held, tuple | list) and held:
            if self.column is not None:
                raise UsageError(f"--column applies to a data set of dicts; items are a {type(held).__name__}")
            return held[0], held[1] if len(held) > 1 else None
        return held, None

    def input(self, item: int) -> Any:
        """Return the input of one item."""
        held = self.both(item)[0]
        if item in self.missing:
            raise UnreadableItemError("has no label")
        return held

    def first(self) -> Any:
        """Return the input of the first item that can be read."""
        reason = ""
        for item in range(min(len(self.names), PROBED)):
            try:
                return self.input(item)
            except UnreadableItemError as error:
                reason = reason or str(error)
        raise NotMeasuredError(f"{self.at}: not one of the first items can be read: {reason}")

    def labels(self) -> OwnLabels:
        """Take the labels of an attribute of all labels, or of each item unless these are too many to be read twice."""
        held = self._build()
        for name in ATTRIBUTES:
            values = getattr(held, name, None)
            if isinstance(values, torch.Tensor | np.ndarray | Sequence) and len(values) == len(self.names):
                return own_labels([_label(value) for value in values])
        if len(self.names) > MOST_READ_FOR_LABELS:
            self.note = "labels not read: the data set has no attribute `targets`"
            return NO_LABELS
        found: list[Label] = []
        for item in range(len(self.names)):
            try:
                found.append(_label(self.both(item)[1]))
            except UnreadableItemError:  # counted when it is read again
                found.append(None)
            if item >= PROBED and not any(label is not None for label in found):
                return NO_LABELS
        return own_labels(found)

    def _count(self) -> int:
        held = self._build()
        if not hasattr(held, "__getitem__") or not hasattr(held, "__len__"):
            raise UsageError(
                f"{self.at}: returned {type(held).__name__}; expected a map-style data set, with len() and [i]"
            )
        try:
            count = len(held)
        except Exception as error:
            raise UsageError(f"{self.at}: len() of the data set failed: {in_one_line(error)}") from error
        if count > MOST_ROWS:
            raise UsageError(f"{self.at}: the data set says it has {count} items, more than can be scanned")
        if count == 0:
            raise NotMeasuredError(f"{self.at}: the data set is empty")
        return count

    def _entry(self, held: Mapping[Any, Any]) -> Any:
        names = [str(name) for name in held]
        if self.column is not None:
            if self.column not in held:
                raise UsageError(f"--column {printable(self.column)}: no such entry{did_you_mean(self.column, names)}")
            return held[self.column]
        name = next((name for name in INPUTS if name in held), None)
        if name is None:
            shown = printable(", ".join(names))
            raise UsageError(f"{self.at}: items have none of {', '.join(INPUTS)}; choose with --column: {shown}")
        return held[name]


class OwnCopy(OwnHandle[Any]):
    """Like `OwnHandle`, but a forked process goes on with the copy it was born with, as in a DataLoader."""

    def __call__(self) -> Any:
        """Return the data set."""
        if self._held is None:
            self._held = self._opener()
        return self._held


class UserPictures(Pictures):
    """PIL images of a user's data set."""

    def __init__(self, source: Source) -> None:
        self.source, self.names = source, source.names

    def read(self, item: int) -> Image.Image:
        """Return one image."""
        held = self.source.input(item)
        if not isinstance(held, Image.Image):
            raise UnreadableItemError(f"is a {type(held).__name__}, others are images")
        return held

    def mode(self, item: int) -> str | None:
        """Return the mode of one image."""
        try:
            return self.read(item).mode
        except UnreadableItemError:
            return None


class UserRows(SingleRows):
    """Tensors and arrays of a user's data set."""

    def __init__(self, source: Source) -> None:
        self.source, self.names = source, source.names
        self.probe(len(source.names))

    def array(self, item: int) -> NDArray[Any]:
        """Return one item."""
        held = self.source.input(item)
        if isinstance(held, torch.Tensor):
            held = held.detach().cpu()
            return np.asarray(held.float() if held.dtype == torch.bfloat16 else held)
        if not isinstance(held, np.ndarray | np.generic | int | float | list | tuple):
            raise UsageError(
                f"{self.source.at}: items must be tensors, arrays, PIL images or texts, not {type(held).__name__}"
            )
        try:
            return np.asarray(held)
        except ValueError as error:
            raise UnreadableItemError(f"is a list of lists that differ in length: {printable(str(error))}") from error


def _build(reference: str) -> Any:
    build: Callable[[], Any] = load_callable(reference, option="--dataset")
    try:
        with user_code(reference):
            return build()
    except (Exception, SystemExit) as error:
        raise UsageError(f"--dataset {printable(reference)} failed: {in_one_line(error)}") from error


def _text(source: Source, item: int) -> Any:
    return source.input(item)


def _label(value: Any) -> Label:
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        array = np.asarray(value)
        value = array.item() if array.size == 1 else None
    if isinstance(value, bool):
        return int(value)
    return value if isinstance(value, int | str) else None
