"""Small clouds of rows on which numbers are hard to get right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.floating]


def gaussian(n: int = 60, d: int = 12, seed: int = 0, alpha: float = 0.0) -> NDArray[np.float64]:
    """Gaussian rows whose eigenvalues fall as i^−alpha."""
    return np.random.default_rng(seed).standard_normal((n, d)) * np.arange(1, d + 1) ** (-alpha / 2)


def with_zero_rows() -> Rows:
    rows = gaussian(seed=5)
    rows[::3] = 0
    return rows


CLOUDS: dict[str, Callable[[], Rows]] = {
    "random": gaussian,
    "power law": lambda: gaussian(alpha=2.0),
    "single precision": lambda: gaussian().astype(np.float32),
    "after a ReLU": lambda: np.maximum(gaussian(), 0),
    "shifted by 1e6 deviations": lambda: gaussian(seed=1) + 1e6,
    "shifted along one dimension": lambda: gaussian(seed=2) + 1e6 * np.eye(12)[3],
    "nearly constant, spread 1e-7": lambda: 1 + 1e-7 * gaussian(seed=3),
    "nearly constant, spread 1e-7, uneven": lambda: gaussian(1, 12, 9) * (1 + 1e-7 * gaussian(seed=3, alpha=1.0)),
    "with zero rows": with_zero_rows,
    "duplicated rows": lambda: np.repeat(gaussian(20, 12, 4), 3, axis=0),
    "few distinct rows": lambda: gaussian(5, 12, 4)[np.arange(60) % 5],
    "rank 3": lambda: gaussian(60, 3, 6) @ gaussian(3, 12, 7),
    "fewer rows than dimensions": lambda: gaussian(12, 40, 8),
    "tiny": lambda: 1e-30 * gaussian(),
    "one far row": lambda: np.concatenate([gaussian(), 1e3 * np.ones((1, 12))]),
    "one dimension": lambda: gaussian(60, 1) + 0.3,
}
