"""Findings whose level depends on how much there is."""

from __future__ import annotations

import numpy as np
import pytest

from collapsecheck import testing
from collapsecheck.checks import Kind, Level, Outcome
from collapsecheck.checks.distinct_inputs import DistinctInputs
from collapsecheck.checks.dominant_dimension import DominantDimension


@pytest.mark.parametrize(
    ("copies", "level"), [(1, None), (2, Level.NOTE), (8, Level.NOTE), (20, Level.WARNING), (300, Level.WARNING)]
)
def test_repeated_inputs(copies: int, level: Level | None) -> None:
    rows = np.random.default_rng(0).normal(size=(300 // copies, 16)).repeat(copies, axis=0)
    (found,) = DistinctInputs().run(testing.observed(rows, inputs=rows.astype(np.float32)))
    assert (found.level if found.outcome is Outcome.FAILED else None) is level
    assert found.kind is None  # nothing can be said of the embeddings


def test_one_dimension_that_drowns_the_others() -> None:
    rows = np.random.default_rng(0).normal(size=(500, 32))
    rows[:, 3] *= 100
    (found,) = DominantDimension().run(testing.observed(rows))
    assert (found.level, found.kind) == (Level.WARNING, Kind.DIMENSIONAL)


def test_one_dimension_beside_which_there_is_nothing() -> None:
    """Two classes need one direction, and no more."""
    random = np.random.default_rng(0)
    rows = 0.01 * random.normal(size=(500, 1)) @ random.normal(size=(1, 32))
    rows[:, 3] = random.choice([-1.0, 1.0], 500)
    (found,) = DominantDimension().run(testing.observed(rows))
    assert (found.level, found.kind) == (Level.NOTE, None)
