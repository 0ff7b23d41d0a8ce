from __future__ import annotations

from collections.abc import Iterator

import pytest

from collapsecheck import testing
from collapsecheck.checks import Check, Finding, Level, Outcome
from collapsecheck.examination import all_checks, examine, run
from collapsecheck.observe import NotObservable, Observations


@pytest.fixture(scope="module")
def seen() -> Observations:
    return testing.rectified(200, 16)


class Probe(Check):
    """Raises what it is given."""

    HEALTHY = COLLAPSED = testing.rectified

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def run(self, seen: Observations) -> Iterator[Finding]:
        yield self.passed("so far")
        raise self.error


def test_every_check_is_asked_in_alphabetical_order(seen: Observations) -> None:
    asked = [finding.check for finding in examine(seen)]
    assert asked == sorted(all_checks())


def test_selection(seen: Observations) -> None:
    assert [f.check for f in examine(seen, select=("non-finite", "mean-cosine"))] == ["mean-cosine", "non-finite"]
    left = {f.check for f in examine(seen, ignore=("non-finite",))}
    assert left == set(all_checks()) - {"non-finite"}
    assert examine(seen, select=("non-finite",), ignore=("non-finite",)) == []


def test_thresholds_reach_their_check_only(seen: Observations) -> None:
    strict = examine(seen, thresholds={"mean-cosine": {"note": 0.1}})
    changed = {f.check for f, g in zip(strict, examine(seen), strict=True) if f != g}
    assert changed == {"mean-cosine"}


def test_what_cannot_be_observed_is_skipped_with_the_reason(seen: Observations) -> None:
    (finding,) = run(Probe(NotObservable("no model was run")), seen)
    assert (finding.outcome, finding.level, finding.message) == (Outcome.SKIPPED, Level.NOTE, "no model was run")


@pytest.mark.parametrize("error", [ValueError("boom"), ZeroDivisionError(), RuntimeWarning("divide")])
def test_a_check_that_breaks_is_a_finding_and_never_passed(seen: Observations, error: Exception) -> None:
    (finding,) = run(Probe(error), seen)
    assert (finding.outcome, finding.level) == (Outcome.ERRORED, Level.ERROR)
    assert finding.message == f"the check broke: {type(error).__name__}: {error}"


def test_an_interruption_is_not_swallowed(seen: Observations) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(Probe(KeyboardInterrupt()), seen)  # type: ignore[arg-type]


def test_examining_twice_gives_the_same(seen: Observations) -> None:
    assert examine(seen) == examine(seen)
