"""Labels that the items bring along one by one, some of which may be missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LABEL_COLUMNS = ("label", "labels", "class", "target")

Label = int | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLabels:
    """Class numbers `[n]` that index `classes`, or None; and which items cannot be used for want of a label."""

    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    missing: frozenset[int]


NO_LABELS = OwnLabels(labels=None, classes=(), missing=frozenset())


def own_labels(values: Sequence[Label], names: Sequence[str] = ()) -> OwnLabels:
    """Turn the label of each item into class numbers.

    Parameters
    ----------
    values
        A number or a text for each item, None where it has none.
    names
        Names of classes 0, 1, …, where the data knows them.

    Where fewer than half of the items have a label, none is used; otherwise an item without one is missing.
    """
    present = [value for value in values if value is not None]
    if not present or 2 * len(present) < len(values):
        return NO_LABELS
    numbers = all(isinstance(value, int) for value in present)
    found: list[Label] = []
    if numbers:
        found += sorted({int(value) for value in present})
    else:
        values = [None if value is None else str(value) for value in values]
        found += _in_order({str(value) for value in present})
    position: dict[Label, int] = {value: i for i, value in enumerate(found)}
    return OwnLabels(
        labels=np.array([0 if value is None else position[value] for value in values], dtype=np.int64),
        classes=tuple(_name(value, names) for value in found),
        missing=frozenset(i for i, value in enumerate(values) if value is None),
    )


def _in_order(texts: set[str]) -> list[str]:
    """Numbers by value, so that class 10 comes after class 9; else alphabetical."""
    plain = all(text.isdecimal() and len(text) < 19 for text in texts)
    return sorted(texts, key=lambda text: (int(text), text)) if plain else sorted(texts)


def _name(value: Label, names: Sequence[str]) -> str:
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else str(value)
