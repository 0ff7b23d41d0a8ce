"""Pickles read without running them: no class is needed to get tensors out of the file that names it.

`machine` follows the instructions and records every call, `settling` makes content of the records. Nothing that a
pickle names is imported or called, whatever it is; what the names say about the file is judged apart (`names`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from collapsecheck.checkpoints.formats import SafetyNote
from collapsecheck.checkpoints.inert.budget import Budget
from collapsecheck.checkpoints.inert.machine import LARGEST_PICKLE, Buffer, Outcome, run
from collapsecheck.checkpoints.inert.names import unknown_classes
from collapsecheck.checkpoints.inert.settling import Settling
from collapsecheck.checkpoints.inert.tensors import Storage, TensorMaker, storage_of

__all__ = ["LARGEST_PICKLE", "Outcome", "Storage", "read_pickle", "run", "settle", "storage_of"]


def read_pickle(
    content: Buffer,
    *,
    file: Path,
    locate: Callable[[Storage], tuple[int, int]] | None = None,
    big_endian: bool = False,
    embedded: Callable[[bytes], tuple[Storage, int]] | None = None,
    largest: int = LARGEST_PICKLE,
) -> tuple[Any, tuple[SafetyNote, ...]]:
    """Return what a pickle holds, and what its reader should know about it.

    Parameters
    ----------
    content
        The pickle, which begins at its first byte.
    file
        Where the bytes of its tensors are.
    locate
        Gives the (offset, size) in bytes of a storage in `file`; without it, the pickle may refer to none.
    big_endian
        Whether the numbers of the tensors are.
    embedded
        Reads a storage that is a file of torch within the pickle (see `TensorMaker`); without it, they are left out.
    largest
        Bytes that the pickle may have.

    Raises
    ------
    NotLoadableError
        If the pickle is damaged or hostile.
    """
    outcome = run(content, largest=largest, persistent=storage_of if locate is not None else None)
    return settle(outcome, file=file, locate=locate, big_endian=big_endian, embedded=embedded)


def settle(
    outcome: Outcome,
    *,
    file: Path,
    locate: Callable[[Storage], tuple[int, int]] | None,
    big_endian: bool = False,
    embedded: Callable[[bytes], tuple[Storage, int]] | None = None,
) -> tuple[Any, tuple[SafetyNote, ...]]:
    """Make content of what the machine left; the second half of `read_pickle`.

    Raises
    ------
    NotLoadableError
        If a tensor is not what it declares, or modules are nested endlessly.
    """
    budget = Budget(4 * outcome.end + (1 << 20))
    maker = TensorMaker(file=file, locate=locate or _nowhere, big_endian=big_endian, embedded=embedded, budget=budget)
    settling = Settling(maker, budget)
    value = settling.settle(outcome.value)
    return value, (*unknown_classes(outcome.names, settling.interpreted), *maker.notes())


def _nowhere(_: Storage) -> tuple[int, int]:
    return 0, -1
