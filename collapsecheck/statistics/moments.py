"""Pivot-shifted, mergeable sums over rows, from which all spread, angle and spectrum numbers follow.

One pass and O(D²) memory. The pivot (about the mean of the first rows) is not a refinement but a necessity:
`q2` enters the unbiased participation ratio as a difference of fourth powers, so that without a pivot the
relative error grows like eps / spread⁴.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# The rows may live on an accelerator: `Tensor` is anything with the operators of numpy and torch alike.
Tensor = Any

# Re-centre when the rows turn out to lie this many spreads away from the pivot ...
FAR = 10.0
# ... but not more often than each time the number of rows has grown by this factor.
PATIENCE = 4

# Values worked on at a time: a quarter of a megabyte stays in the cache.
CACHED = 32_768

# Equal rows, once scaled to length 1, differ by this much of their length at most: a few roundings of float64.
ROUNDING = 4 * 2.0**-52


@dataclass(slots=True, kw_only=True)
class Moments:
    """Sums of `y = x - pivot` over the rows `x` seen so far, in float64.

    Attributes
    ----------
    pivot : [D], the common shift.
    n : number of rows.
    s : [D], Σ y.
    G : [D, D], Σ y yᵀ, or None when only first-order numbers are wanted (O(D) memory).
    q1, q2 : Σ r and Σ r², where r = ‖y‖².
    v : [D], Σ r·y.

    The arrays may be numpy arrays or float64 tensors on an accelerator; `on_host` brings them back.
    """

    pivot: Tensor
    n: int
    s: Tensor
    G: Tensor | None
    q1: float
    q2: float
    v: Tensor
    settled: int = 0  # rows seen when the pivot was last checked

    @classmethod
    def about(cls, pivot: Tensor, *, second_order: bool = True) -> Moments:
        """Empty sums about a pivot [D]."""
        zero = pivot * 0.0
        shape = (len(pivot), len(pivot))
        products = None
        if second_order:
            # numpy's zeros take no memory until they are written to, and the first product takes their place
            products = np.zeros(shape) if isinstance(pivot, np.ndarray) else pivot.new_zeros(shape)
        return cls(
            pivot=pivot,
            n=0,
            s=zero,
            G=products,
            q1=0.0,
            q2=0.0,
            v=zero,
        )

    def add(self, rows: Tensor) -> None:
        """Take in rows [m, D] (float64, same device as the pivot)."""
        y = rows * 1.0
        for part in parts_in_cache(y):
            self.shift(y[part])
        self.multiply(y)

    def shift(self, rows: Tensor) -> None:
        """Subtract the pivot from rows [m, D] in place, and take in the sums of first order of what comes out.

        Whoever calls this gives the same rows to `multiply` afterwards; in between the sums are not complete.
        """
        rows -= self.pivot
        r = squared_lengths(rows)
        weights = np.ones((2, len(r))) if isinstance(rows, np.ndarray) else rows.new_ones((2, len(r)))
        weights[1] = r
        sums = weights @ rows
        self.s = self.s + sums[0]
        self.v = self.v + sums[1]
        self.q1 += float(r.sum())
        self.q2 += float(r @ r)

    def multiply(self, shifted: Tensor) -> None:
        """Take in the products of rows [m, D] that went through `shift`."""
        if not len(shifted):
            return
        if self.G is not None:
            product = shifted.T @ shifted  # numpy sees the transpose and forms half of it
            if self.n:
                product += self.G  # not into G, which merged sums may share
            self.G = product
        self.n += len(shifted)
        if self.n >= PATIENCE * self.settled:
            self._recentre()

    def _recentre(self) -> None:
        self.settled = self.n
        offset = self.s / self.n
        squared = float(offset @ offset)
        if squared > FAR**2 * (self.q1 / self.n - squared) > 0:
            moved = self.moved_to(self.pivot + offset)
            self.pivot, self.s, self.G, self.v = moved.pivot, moved.s, moved.G, moved.v
            self.q1, self.q2 = moved.q1, moved.q2

    def on_host(self) -> Moments:
        """The same sums as numpy arrays."""
        return Moments(
            pivot=_numpy(self.pivot),
            n=int(self.n),
            s=_numpy(self.s),
            G=None if self.G is None else _numpy(self.G),
            q1=float(self.q1),
            q2=float(self.q2),
            v=_numpy(self.v),
            settled=self.settled,
        )

    def moved_to(self, pivot: Tensor) -> Moments:
        """The same rows about another pivot; exact algebra on the old sums."""
        d = self.pivot - pivot
        n, s, a = self.n, self.s, float(d @ d)
        ds = float(d @ s)
        G = self.G
        if G is None:  # the fourth-order sums need G: without it they are not defined
            q2, v = float("nan"), d * float("nan")
        else:
            Gd = G @ d
            q2 = self.q2 + 4 * float(self.v @ d) + 4 * float(d @ Gd) + 2 * a * self.q1 + 4 * a * ds + n * a * a
            v = self.v + 2 * Gd + a * s + self.q1 * d + 2 * ds * d + n * a * d
            sd = s[:, None] * d[None, :]
            G = G + sd + sd.T + n * (d[:, None] * d[None, :])
        return Moments(
            pivot=pivot,
            n=n,
            s=s + n * d,
            G=G,
            q1=self.q1 + 2 * ds + n * a,
            q2=q2,
            v=v,
            settled=self.settled,
        )

    def plus(self, other: Moments) -> Moments:
        """Sums over both sets of rows (about this pivot); an empty one is the identity."""
        if not other.n:
            return self
        if not self.n:
            return other
        other = other if _equal(self.pivot, other.pivot) else other.moved_to(self.pivot)
        return self._combined(other, 1)

    def minus(self, other: Moments) -> Moments:
        """Sums over the rows that are not in `other`, which must be a part of this set."""
        other = other if _equal(self.pivot, other.pivot) else other.moved_to(self.pivot)
        return self._combined(other, -1)

    def _combined(self, other: Moments, sign: int) -> Moments:
        return Moments(
            pivot=self.pivot,
            n=self.n + sign * other.n,
            s=self.s + sign * other.s,
            G=None if self.G is None or other.G is None else self.G + sign * other.G,
            q1=self.q1 + sign * other.q1,
            q2=self.q2 + sign * other.q2,
            v=self.v + sign * other.v,
            settled=max(self.settled, other.settled),
        )

    # -- read-outs, on the host ---------------------------------------------------------------------------

    @property
    def mean(self) -> Array:
        """Mean row [D]; NaN without rows."""
        if not self.n:
            return np.full(self.pivot.shape, np.nan)
        return np.asarray(self.pivot + self.s / self.n)

    @property
    def deviation(self) -> float:
        """Σ‖x − mean‖², ≥ 0: the trace of the scatter matrix, without cancellation; exactly 0 for equal rows."""
        if not self.n:
            return float("nan")
        mean = self.mean
        value = self.q1 - float(self.s @ self.s) / self.n
        return value if value > self.n * ROUNDING**2 * float(mean @ mean) else 0.0

    @property
    def total_variance(self) -> float:
        """T = tr C, the sum of the unbiased variances of all dimensions, ≥ 0; NaN for fewer than 2 rows."""
        return self.deviation / (self.n - 1) if self.n > 1 else float("nan")

    @property
    def covariance(self) -> Array:
        """Unbiased covariance C [D, D]; NaN for fewer than 2 rows."""
        if self.G is None:
            raise ValueError("these sums were kept without second-order products")
        if self.n < 2:
            return np.full(self.G.shape, np.nan)
        return np.asarray((self.G - np.outer(self.s, self.s) / self.n) / (self.n - 1))

    @property
    def variances(self) -> Array:
        """Unbiased variance of each dimension [D], ≥ 0."""
        if self.G is None:
            raise ValueError("these sums were kept without second-order products")
        if self.n < 2:
            return np.full(self.pivot.shape, np.nan)
        if not self.deviation > 0:
            return np.zeros(self.pivot.shape)
        return np.asarray(np.maximum((np.diagonal(self.G) - self.s**2 / self.n) / (self.n - 1), 0.0))

    @property
    def raw_second_moment(self) -> Array:
        """Σ x xᵀ [D, D] about the origin."""
        if self.G is None:
            raise ValueError("these sums were kept without second-order products")
        sc = np.outer(self.s, self.pivot)
        return np.asarray(self.G + sc + sc.T + self.n * np.outer(self.pivot, self.pivot))


def parts_in_cache(rows: Tensor, count: int | None = None) -> Iterator[slice]:
    """Cut the (first `count`) rows [n, D] into parts on which several steps in turn find their values in the cache.

    On an accelerator one part holds all of them.
    """
    count = len(rows) if count is None else count
    step = max(1, CACHED // max(1, rows.shape[1])) if isinstance(rows, np.ndarray) else max(1, count)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def squared_lengths(rows: Tensor) -> Tensor:
    """‖x‖² of each row [n]."""
    return np.einsum("ij,ij->i", rows, rows) if isinstance(rows, np.ndarray) else (rows * rows).sum(1)


def moments_of(rows: Array, *, second_order: bool = True) -> Moments:
    """Sums over an array [n, D] that fits in memory, about its own mean (its first row's when empty)."""
    rows = np.asarray(rows, dtype=np.float64)
    pivot = rows.mean(0) if len(rows) else np.zeros(rows.shape[1])
    moments = Moments.about(pivot, second_order=second_order)
    moments.add(rows)
    return moments


def _equal(a: Tensor, b: Tensor) -> bool:
    return bool((a == b).all())


def _numpy(array: Tensor) -> Array:
    return array if isinstance(array, np.ndarray) else np.asarray(array.cpu().numpy())
