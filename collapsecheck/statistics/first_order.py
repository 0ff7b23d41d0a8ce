"""First-order sums over long rows, such as images, and over their unit rows, which are never formed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from collapsecheck.statistics.moments import Moments, Tensor, squared_lengths

# Rows shorter than this share of the pivot's length are scaled to length 1 by themselves.
SHORT = 1e-2


def add_first_order(raw: Moments, unit: Moments, rows: NDArray[np.generic]) -> None:
    """Take rows x [m, D] into first-order sums of rows and of unit rows.

    For long rows, such as images: everything follows from ‖y‖², y·c and sums of the deviations y = x − c, so
    that the unit rows are never formed, but for rows much shorter than c, of which y keeps no digits.
    `unit.pivot` must be c/‖c‖ for the pivot c of `raw` (0 for c = 0). With l = ‖x‖ and a = 1/l − 1/‖c‖ the
    deviation of a unit row is u − c/‖c‖ = y/l + a·c; l − ‖c‖ is formed from y, so that nothing cancels. Sums
    are formed without BLAS, whose threads would get in the way of the model's.
    """
    c = raw.pivot
    length_of_c = math.sqrt(float(np.einsum("d,d->", c, c)))  # not c @ c: that wakes the threads of BLAS
    y = rows - c
    r = squared_lengths(y)
    t = np.einsum("nd,d->n", y, c)
    squares = r + 2 * t + length_of_c**2
    raw.n += len(r)
    raw.s = raw.s + y.sum(0)
    raw.q1 += float(r.sum())
    short = squares <= SHORT**2 * length_of_c**2
    if short.any():
        x = rows[short].astype(np.float64)
        lengths = np.sqrt(squared_lengths(x))[:, None]
        u = (x / np.where(lengths > 0, lengths, 1.0) - unit.pivot)[lengths[:, 0] > 0]
        unit.n += len(u)
        unit.s = unit.s + u.sum(0)
        unit.q1 += float(squared_lengths(u).sum())
        y, r, t, squares = y[~short], r[~short], t[~short], squares[~short]
    length = np.sqrt(squares)
    inverse = 1 / length
    a = -(2 * t + r) / (length + length_of_c) * inverse / length_of_c if length_of_c > 0 else np.zeros_like(length)
    unit.n += len(r)
    unit.s = unit.s + (y * inverse[:, None]).sum(0) + c * a.sum()
    unit.q1 += float((r * inverse**2 + 2 * t * a * inverse + (length_of_c * a) ** 2).sum())


def add_first_order_tensors(raw: Moments, unit: Moments, rows: Tensor, kept: Tensor) -> None:
    """The same for those rows [m, D] of a tensor for which `kept` [m] is true, on its device.

    Nothing here waits for the device: there are no branches, and counts and sums stay where they are until
    `Moments.on_host` asks for them.
    """
    c = raw.pivot
    length_of_c = (c * c).sum() ** 0.5
    x = rows.double().where(kept[:, None], 0.0)
    y = (x - c).where(kept[:, None], 0.0)
    r, t = squared_lengths(y), y @ c
    squares = r + 2 * t + length_of_c**2
    short = squares <= SHORT**2 * length_of_c**2
    raw.n = raw.n + kept.sum()
    raw.s = raw.s + y.sum(0)
    raw.q1 = raw.q1 + r.sum()
    lengths = squared_lengths(x) ** 0.5
    alone = (short & kept & (lengths > 0)).double()
    u = x / lengths.where(lengths > 0, 1.0)[:, None] - unit.pivot
    usual = kept & ~short
    length = squares.where(usual, 1.0) ** 0.5
    inverse = usual / length
    a = (-(2 * t + r) / (length + length_of_c) * inverse / length_of_c).where(length_of_c > 0, 0.0)
    unit.n = unit.n + usual.sum() + alone.sum().long()
    unit.s = unit.s + inverse @ y + c * a.sum() + alone @ u
    around = r * inverse**2 + 2 * t * a * inverse + (length_of_c * a) ** 2
    unit.q1 = unit.q1 + around.sum() + alone @ squared_lengths(u)
