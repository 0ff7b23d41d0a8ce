"""Pictures of numbers in block characters, one line high."""

from __future__ import annotations

import math
from collections.abc import Sequence

BLOCKS = " ▁▂▃▄▅▆▇█"
DECADES = 8  # a full block is the strongest direction, each eighth less a factor of ten


def histogram(counts: Sequence[int], width: int) -> str:
    """Counts per bin as bars; the fullest bin is a full block, and no bin that holds anything is blank.

    Neighbouring bins are put together until there are no more than `width`.
    """
    while len(counts) > width:
        counts = [sum(counts[i : i + 2]) for i in range(0, len(counts), 2)]
    top = max(counts, default=0)
    return "".join(BLOCKS[0 if not count else max(1, round(8 * count / top))] for count in counts)


def spectrum_bars(shares: Sequence[float], width: int) -> str:
    """Variance shares [m], largest first, as bars on a logarithmic scale, thinned out to `width` columns."""
    chosen = [shares[round(i * (len(shares) - 1) / max(width - 1, 1))] for i in range(width)]
    top = chosen[0]
    return "".join(_bar(share / top) if top > 0 else " " for share in chosen)


def _bar(ratio: float) -> str:
    if ratio <= 0:
        return BLOCKS[0]
    return BLOCKS[max(0, min(8, DECADES + math.floor(math.log10(ratio) + 1e-9)))]


def bar_of(value: float, measure: str, width: int) -> str:
    """A horizontal bar on a logarithmic scale: six decades for shares, two for ranks."""
    low, high = {"effective rank": (1.0, 100.0), "root mean square": (1e-6, 10.0)}.get(measure, (1e-6, 1.0))
    if not math.isfinite(value) or value <= low:
        return ""
    share = math.log(min(value, high) / low) / math.log(high / low)
    return "█" * max(1, round(share * width))
