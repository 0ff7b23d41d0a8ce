"""Reads the items of one batch; as this runs in worker processes, errors are returned as values."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from collapsecheck.datasets.inputs import Inputs, each, item_shape, stacked
from collapsecheck.datasets.kinds import Items, Rows, UnreadableItemError
from collapsecheck.datasets.transform import Preprocessing
from collapsecheck.errors import UsageError, printable

ItemShape = torch.Size | dict[str, torch.Size]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What came of one batch: the items read, their inputs (None without any), and what failed.

    `problem` is an error of the whole scan. As an exception it would arrive from a worker process with that
    process's traceback as its message.
    """

    items: list[int]
    inputs: Inputs | None
    failures: list[tuple[int, str]]
    problem: str | None = None

    def pin_memory(self) -> Loaded:
        """Copy the inputs to page-locked memory; torch's DataLoader calls this."""
        return self if self.inputs is None else replace(self, inputs=each(self.inputs, torch.Tensor.pin_memory))


class Loader(Dataset[Loaded]):
    """A torch data set whose items are whole batches, so that one bad item does not spoil the others."""

    def __init__(self, items: Items, preprocessing: Preprocessing) -> None:
        self.items = items
        self.preprocessing = preprocessing

    def __getitem__(self, items: NDArray[np.int64]) -> Loaded:
        """Read and prepare these items."""
        chosen: list[int] = items.tolist()
        try:
            if isinstance(self.items, Rows) and self.preprocessing.transform is None:
                with suppress(UnreadableItemError):  # the good ones among them are read one by one
                    inputs = self.preprocessing.rows(self.items.rows(chosen))
                    return Loaded(items=chosen, inputs=inputs, failures=[])
            return self._texts(chosen) if self.preprocessing.tokenizer is not None else self._one_by_one(chosen)
        except UsageError as error:
            return Loaded(items=[], inputs=None, failures=[], problem=str(error))

    def unequal(self, item: int, shape: ItemShape, other: int, other_shape: ItemShape) -> str:
        """Say that two items do not fit into one batch, and what to do."""
        first, second = printable(self.items.names[item]), printable(self.items.names[other])
        if self.preprocessing.transform is not None:
            return (
                f"the transform makes tensors of different shapes: {_shown(shape)} of {first}, "
                f"{_shown(other_shape)} of {second}"
            )
        if isinstance(shape, dict) or isinstance(other_shape, dict):
            return f"{first} and {second} become inputs of different shapes"
        return (
            f"images differ in size: {first} has {shape[-1]}×{shape[-2]} pixels, {second} has "
            f"{other_shape[-1]}×{other_shape[-2]}; give them one with --size N"
        )

    def _texts(self, chosen: list[int]) -> Loaded:
        failures: list[tuple[int, str]] = []
        read: dict[int, str] = {}
        for item in chosen:
            try:
                read[item] = self.items.read(item)
            except UnreadableItemError as error:
                failures.append((item, str(error)))
        inputs = self.preprocessing.texts(list(read.values())) if read else None
        return Loaded(items=list(read), inputs=inputs, failures=failures)

    def _one_by_one(self, chosen: list[int]) -> Loaded:
        failures: list[tuple[int, str]] = []
        read: dict[int, Inputs] = {}
        for item in chosen:
            try:
                read[item] = self.preprocessing.item(self.items.read(item))
            except UnreadableItemError as error:
                failures.append((item, str(error)))
            except UsageError as error:
                raise UsageError(f"{printable(self.items.names[item])}: {error}") from error
        if not read:
            return Loaded(items=[], inputs=None, failures=failures)
        first = next(iter(read))
        shape = _shape(read[first])
        for item, inputs in read.items():
            if _shape(inputs) != shape:
                raise UsageError(self.unequal(first, shape, item, _shape(inputs)))
        return Loaded(items=list(read), inputs=stacked(list(read.values())), failures=failures)


def _shape(item: Inputs) -> ItemShape:
    return item_shape(each(item, lambda tensor: tensor[None]))


def _shown(shape: ItemShape) -> str:
    if isinstance(shape, dict):
        return ", ".join(f"{printable(name, 40)} {list(one)}" for name, one in shape.items())
    return str(list(shape))


def unchanged(loaded: Any) -> Any:
    """Stand in for torch's collate function: a batch is already one."""
    return loaded
