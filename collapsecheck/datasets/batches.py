"""Items to batches, in a bounded amount of memory; what cannot be read is named, never fatal."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader

from collapsecheck.datasets.inputs import Inputs, item_shape, nbytes
from collapsecheck.datasets.kinds import Items
from collapsecheck.datasets.loading import Loaded, Loader, unchanged
from collapsecheck.datasets.subset import choose_items, put_first
from collapsecheck.datasets.transform import Preprocessing
from collapsecheck.errors import NotMeasuredError, UsageError, printable

BATCH_BYTES = 16 * 2**20  # large enough to keep a GPU busy, small enough for the activations of deep models
BATCH_TOKENS = 16_384  # token ids take little memory, what a model makes of them much
SMALLEST_BATCH, LARGEST_BATCH = 16, 256
FEW_ITEMS = 512  # below, starting workers takes longer than reading the items
MOST_WORKERS = 4
PROBED_ITEMS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Inputs `[n, …]`, the numbers of their items `[n]` and, where there are any, their labels `[n]`.

    The inputs are one tensor, or several by the names of the model's arguments.
    """

    indices: torch.Tensor
    inputs: Inputs
    labels: torch.Tensor | None


class Batches:
    """The items as batches, in ascending order but for the `first`; may be iterated several times.

    Parameters
    ----------
    batch_size
        None: about 16 MiB of inputs, from 16 to 256 items.
    workers
        Processes that read items; 0: none; None: none for arrays and for few images, else up to 4.
    pin_memory
        Page-locked memory, where there is a GPU to copy to.
    max_samples, seed
        At most so many items, chosen at random so that each class keeps its share.
    first
        So many of them, a random sample of its own, come first and in no order; the others follow in ascending order.

    Attributes
    ----------
    seen, used
        Numbers of items that were tried and that were read, in this iteration.
    unreadable
        Name and reason of those that were not.
    """

    def __init__(
        self,
        items: Items,
        preprocessing: Preprocessing,
        *,
        batch_size: int | None = None,
        workers: int | None = None,
        pin_memory: bool = False,
        max_samples: int | None = None,
        seed: int = 0,
        first: int = 0,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise UsageError("--batch-size must be at least 1")
        if workers is not None and workers < 0:
            raise UsageError("--workers must be at least 0")
        if len(items) == 0:
            raise NotMeasuredError("the data holds no items")
        self.items = items
        self.preprocessing = preprocessing
        self.chosen = put_first(choose_items(len(items), items.labels, max_samples, seed), items.labels, first, seed)
        self.workers = _automatic_workers(items, preprocessing, len(self.chosen)) if workers is None else workers
        self.seed = seed
        self.seen = 0
        self.used = 0
        self.unreadable: list[tuple[str, str]] = []
        self._loader = Loader(items, preprocessing)
        self._pin_memory = pin_memory and torch.cuda.is_available()
        self.batch_size = self._automatic_batch_size() if batch_size is None else batch_size

    def __len__(self) -> int:
        """Number of chosen items (not of batches)."""
        return len(self.chosen)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches.

        Raises
        ------
        UsageError
            If items have different shapes, or the user's transform fails.
        NotMeasuredError
            At the end, if not one item could be read.
        """
        self.seen = self.used = 0
        self.unreadable = []
        first: tuple[int, torch.Size | dict[str, torch.Size]] | None = None
        for loaded in self._loads():
            if loaded.problem is not None:
                raise UsageError(loaded.problem)
            self.seen += len(loaded.items) + len(loaded.failures)
            self.unreadable += [(self.items.names[item], reason) for item, reason in loaded.failures]
            if loaded.inputs is None:
                continue
            shape = item_shape(loaded.inputs)
            first = first or (loaded.items[0], shape)
            if shape != first[1]:
                raise UsageError(self._loader.unequal(*first, loaded.items[0], shape))
            self.used += len(loaded.items)
            labels = None if self.items.labels is None else torch.from_numpy(self.items.labels[loaded.items])
            yield Batch(indices=torch.tensor(loaded.items, dtype=torch.int64), inputs=loaded.inputs, labels=labels)
        if self.used == 0:
            name, reason = self.unreadable[0]
            raise NotMeasuredError(f"not one of {self.seen} items can be read; the first, {printable(name)}: {reason}")

    def _loads(self) -> Iterator[Loaded]:
        with warnings.catch_warnings():
            # The user asked for this number of workers; torch would rather have no more than processors,
            # and Python 3.12 and 3.13 warn whenever torch forks.
            warnings.filterwarnings("ignore", message="This DataLoader will create")
            warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork")
            loader = DataLoader(
                self._loader,
                batch_size=None,
                sampler=self._parts(),
                num_workers=self.workers,
                collate_fn=unchanged,
                pin_memory=self._pin_memory,
                generator=torch.Generator().manual_seed(self.seed),  # leaves the global generator alone
            )
            return iter(loader)

    def _parts(self) -> list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
        return np.split(self.chosen, range(self.batch_size, len(self.chosen), self.batch_size))

    def _automatic_batch_size(self) -> int:
        for item in self.chosen[:PROBED_ITEMS]:
            loaded = self._loader[item[None]]
            if loaded.problem is not None:
                raise UsageError(loaded.problem)
            if loaded.inputs is not None:
                if self.preprocessing.tokens:
                    return min(max(BATCH_TOKENS // self.preprocessing.tokens, SMALLEST_BATCH), LARGEST_BATCH)
                fitting = BATCH_BYTES // max(1, nbytes(loaded.inputs))
                return min(max(fitting, SMALLEST_BATCH), LARGEST_BATCH)
        return SMALLEST_BATCH


def _automatic_workers(items: Items, preprocessing: Preprocessing, count: int) -> int:
    if not items.slow_to_read or count < FEW_ITEMS:
        return 0
    # Other ways to start a process must pickle the user's transform, which a file outside sys.path defies.
    if preprocessing.transform is not None and multiprocessing.get_context().get_start_method() != "fork":
        return 0
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_WORKERS, processors)
