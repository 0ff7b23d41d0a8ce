"""Kinds of data: each file of this folder reads one kind; `DataKind` is what such a file must fulfil.

Items come in three families, because they are prepared differently: `Pictures` are decoded one by one, `Rows`
are slices of one array, `Texts` become token ids.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from collapsecheck.datasets.open_options import NO_OPTIONS, OpenOptions

if TYPE_CHECKING:  # numpy, torch and PIL stay out of `--help`
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL import Image


class UnreadableItemError(Exception):
    """One item cannot be read: it is skipped, counted and named, and the scan goes on."""


class Items(ABC):
    """The items of a data set, in a fixed order.

    `names` are paths relative to the folder (posix) or row numbers; `labels` are class numbers that index
    `classes`, or None; both may be replaced by those of a labels file. `note` says in words for the report what
    was chosen in opening the data (a column, a split), and is empty where there was nothing to choose.

    Items are read in worker processes, to which they are sent by fork or by pickling: they hold no open file,
    or one that each process opens for itself.
    """

    names: Sequence[str]
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    note: str = ""
    kind: str = ""  # id of the kind of data, which `open_items` fills in
    slow_to_read: ClassVar[bool] = True  # whether reading items is worth processes of their own

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def read(self, item: int) -> Any:
        """Return the image or the row.

        Raises
        ------
        UnreadableItemError
            With the reason, in words for the report.
        """


class Pictures(Items):
    """Image files."""

    @abstractmethod
    def read(self, item: int) -> Image.Image:
        """Return the decoded image, in the mode of its file."""

    @abstractmethod
    def mode(self, item: int) -> str | None:
        """Return PIL's mode of an image, read from its header; None when that cannot be read."""


class Rows(Items):
    """Rows of one array."""

    item_shape: tuple[int, ...]
    dtype: torch.dtype
    slow_to_read: ClassVar[bool] = False
    sound: ClassVar[bool] = False  # whether a row is the samples of one sound channel

    @abstractmethod
    def rows(self, items: Sequence[int]) -> torch.Tensor:
        """Return several rows as one tensor `[n, *item_shape]` of their own memory.

        Raises
        ------
        UnreadableItemError
            If one of them cannot be read; they are then read one by one.
        """

    def read(self, item: int) -> torch.Tensor:
        """Return one row, `[*item_shape]`."""
        return self.rows([item])[0]


class Texts(Items):
    """Texts."""

    slow_to_read: ClassVar[bool] = False

    @abstractmethod
    def read(self, item: int) -> str:
        """Return one text."""


class DataKind(ABC):
    """One kind of data. The file's name is the kind's id."""

    expects: ClassVar[str]  # in words, for the error that says what could have been read
    options: ClassVar[frozenset[str]] = frozenset()  # fields of OpenOptions that mean something here

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether this path, which exists, is of this kind."""

    @abstractmethod
    def open(self, path: Path, options: OpenOptions = NO_OPTIONS) -> Items:
        """List the items; reads no more than that needs."""
