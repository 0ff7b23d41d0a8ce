"""Whether an item gets the same embedding each time, and whatever else is in its batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collapsecheck.observe.probe import Probe

ITEMS = 16  # looked at, all in one batch and two by two
# Of the length of the embeddings: what differs by less is rounding, however little the items differ themselves.
ROUNDING = {"float64": 1e-12, "float32": 1e-4, "float16": 3e-2, "bfloat16": 1e-1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeatability:
    """How far an embedding moves (root mean square) over how far embeddings of different items are apart; ≥ 0.

    `again` when the same batch is run once more, `elsewhere` when the same item is in another batch. Both are 0 for a
    sound model, up to rounding; NaN where it could not be tried. Around 1 an embedding tells nothing of its item.
    """

    again: float
    elsewhere: float


def repeatability_of(probe: Probe) -> Repeatability:
    """Run a few items of the probe four times in all."""
    few = probe.first(ITEMS)
    few = few.first(few.items // 2 * 2)  # a single item left over would be a batch that many models refuse
    if few.items < 4:
        return Repeatability(again=math.nan, elsewhere=math.nan)
    once, twice = few.embeddings, few.afresh().embeddings
    again = _moved(once, twice, probe.rows_dtype)
    try:
        elsewhere = _moved(once, few.in_pairs().embeddings, probe.rows_dtype)
    except Exception:  # a model may be made for one size of batch
        elsewhere = math.nan
    return Repeatability(again=again, elsewhere=elsewhere)


def _moved(one: NDArray[np.float64], other: NDArray[Any], dtype: str) -> float:
    finite = np.isfinite(one).all(1) & np.isfinite(other).all(1)
    if finite.sum() < 4 or one.shape != other.shape:
        return math.nan
    one, other = one[finite], other[finite]
    gap = float(np.sqrt(np.square(one - other).sum(1).mean()))
    length = float(np.sqrt(np.square(one).sum(1).mean()))
    if gap <= ROUNDING.get(dtype, 1e-4) * length:
        return 0.0
    apart = float(np.sqrt(np.square(one - one.mean(0)).sum(1).mean()))
    return gap / apart if apart > 0 else math.inf
