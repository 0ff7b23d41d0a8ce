from __future__ import annotations

import numpy as np
import pytest

from collapsecheck.statistics import nulls
from collapsecheck.statistics.class_structure import between_class_share

from .clouds import gaussian


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (nulls.cosine_std(512), 0.0442),
        (nulls.cosine_std(768), 0.0361),
        (nulls.spectral_entropy_rank(1000, 1024), 613.37),
        (nulls.between_class_share(4000, 10), 0.00225),
        (nulls.mean_cosine_deviation(64, 32), 0.0039),
        (nulls.neighbour_ratio(1000, 4.0), 1000**-0.25),
        (nulls.neighbour_ratio(1000, 0.2), 1e-3),  # no fewer than one dimension
    ],
)
def test_values(got: float, want: float) -> None:
    np.testing.assert_allclose(got, want, rtol=0.015)


def test_shares_of_random_labels() -> None:
    shares = [
        between_class_share(gaussian(400, 8, seed), np.random.default_rng(seed).integers(0, 10, 400))
        for seed in range(40)
    ]
    np.testing.assert_allclose(np.mean(shares), nulls.between_class_share(400, 10), rtol=0.1)


def test_too_few_rows_are_undefined_and_the_rest_is_finite() -> None:
    undefined = (
        nulls.effective_rank(1, 5),
        nulls.effective_rank(0, 5),
        nulls.effective_rank(0, 5, centred=False),
        nulls.spectral_entropy_rank(1, 5),
        nulls.participation_ratio_naive(1, 5),
        nulls.stable_rank(0, 5),
        nulls.mean_cosine_deviation(0, 5),
        nulls.between_class_share(1, 2),
        nulls.neighbour_ratio(1, 3.0),
        nulls.neighbour_ratio(100, float("nan")),
    )
    assert np.isnan(undefined).all()
    for n in (2, 3, 5, 100):
        for d in (1, 2, 5, 1000):
            assert 1 <= nulls.effective_rank(n, d) <= min(n - 1, d)
            assert 0 < nulls.spectral_entropy_rank(n, d) <= min(n - 1, d)
