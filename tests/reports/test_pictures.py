from __future__ import annotations

import pytest

from collapsecheck.reports.pictures import histogram, spectrum_bars


@pytest.mark.parametrize(
    ("counts", "picture"),
    [([], ""), ([0, 0], "  "), ([1], "█"), ([0, 1, 1000, 500], " ▁█▄"), ([3, 3], "██")],
)
def test_histogram(counts: list[int], picture: str) -> None:
    assert histogram(counts, width=10) == picture


@pytest.mark.parametrize(("width", "picture"), [(9, "▂▄▆█"), (4, "▂▄▆█"), (3, "▃█"), (2, "▃█"), (1, "█")])
def test_a_wide_histogram_is_narrowed_by_adding_up_neighbours(width: int, picture: str) -> None:
    assert histogram([1, 2, 3, 4], width) == picture


@pytest.mark.parametrize(
    ("shares", "width", "picture"),
    [
        ([1.0], 1, "█"),
        ([0.9, 0.09, 0.009], 3, "█▇▆"),
        ([1.0, 1e-7, 1e-8, 0.0], 4, "█▁  "),
        ([0.0, 0.0], 2, "  "),
        ([0.5, 0.5], 4, "████"),
        ([1, 0.1, 0.01, 0.001, 0.0001], 3, "█▆▄"),
    ],
)
def test_each_step_of_the_spectrum_is_a_factor_of_ten(shares: list[float], width: int, picture: str) -> None:
    assert spectrum_bars(shares, width) == picture


def test_the_strongest_direction_stays_when_the_spectrum_is_thinned_out() -> None:
    shares = [1.0] + [1e-3] * 500
    bars = spectrum_bars(shares, 60)
    assert len(bars) == 60 and bars[0] == "█" and set(bars[1:]) == {"▅"}
