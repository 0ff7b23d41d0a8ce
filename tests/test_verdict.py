from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from collapsecheck import testing
from collapsecheck.checks import Finding, Kind, Level, Outcome
from collapsecheck.examination import examine
from collapsecheck.exit_codes import ExitCode
from collapsecheck.gate import decide
from collapsecheck.observe import Observations
from collapsecheck.settings import Settings
from collapsecheck.verdict import FEW_ROWS, Status, Verdict, judge

HEALTHY, DEGRADED, COLLAPSED, INCONCLUSIVE = Status
RANDOM = np.random.default_rng(0).standard_normal((300, 32))


def verdict_on(seen: Observations, **selection: tuple[str, ...]) -> Verdict:
    return judge(seen, examine(seen, **selection))


def gate_code(seen: Observations) -> ExitCode:
    findings = examine(seen)
    return decide(judge(seen, findings), findings, seen.measurements, Settings()).exit_code


# ---- each synthetic example: status, kind, whether information is kept, whether cosine is usable


@pytest.mark.parametrize(
    ("example", "status", "kind", "kept", "usable"),
    [
        (testing.power_law, HEALTHY, None, True, True),
        (testing.rectified, HEALTHY, None, True, True),
        (testing.classified, HEALTHY, None, True, True),
        (testing.fully_loaded, HEALTHY, None, True, True),
        (testing.nearly_constant, COLLAPSED, Kind.COMPLETE, True, False),
        (lambda: testing.nearly_constant(spread=1e-8), COLLAPSED, Kind.COMPLETE, False, False),
        (testing.cone, DEGRADED, Kind.CONE, True, False),
        (testing.rogue, DEGRADED, Kind.CONE, True, False),
        (testing.low_rank, COLLAPSED, Kind.DIMENSIONAL, False, False),
        (lambda: testing.low_rank(rank=2), COLLAPSED, Kind.DIMENSIONAL, False, False),
        (testing.few_points, COLLAPSED, Kind.CLUSTER, False, False),
        (lambda: testing.few_points(noise=1e-6), COLLAPSED, Kind.CLUSTER, False, False),
        (testing.scaled, COLLAPSED, Kind.NORM, True, False),
        (lambda: testing.scaled(scale=3e-6), DEGRADED, Kind.NORM, True, True),
        (testing.poisoned, COLLAPSED, Kind.NON_FINITE, None, False),
        (testing.dead_half, DEGRADED, Kind.DIMENSIONAL, True, True),
        (testing.few_rows, INCONCLUSIVE, None, None, None),
        (testing.partly_loaded, DEGRADED, None, True, True),
        (testing.partly_read, DEGRADED, None, True, True),
    ],
)
def test_the_synthetic_examples(
    example: Callable[[], Observations],
    status: Status,
    kind: Kind | None,
    kept: bool | None,
    usable: bool | None,
) -> None:
    found = verdict_on(example())
    assert (found.status, found.kind) == (status, kind)
    assert (found.information_kept, found.cosine_usable) == (kept, usable)
    assert found.reason.endswith(".") and not found.reason[0].islower() and "nan" not in found.reason


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [(64, 16), (200, 32), (100, 256), (2000, 16)])
def test_healthy_clouds_of_any_shape_are_healthy(size: tuple[int, int], seed: int) -> None:
    for make in (testing.power_law, testing.rectified):
        assert verdict_on(make(*size, seed=seed)).status is HEALTHY


# ---- degenerate input


def test_zero_embeddings_are_collapsed_although_their_mean_cosine_is_zero() -> None:
    seen = testing.observed(np.zeros((100, 8)))
    found = verdict_on(seen)
    assert (found.status, found.kind, found.information_kept) == (COLLAPSED, Kind.NORM, False)
    assert found.reason.startswith("100 of 100 embeddings are exactly zero")
    assert gate_code(seen) is ExitCode.FAILED


@pytest.mark.parametrize(("rows", "count"), [(0, "0"), (1, "1"), (2, "2"), (15, "15")])
def test_few_rows_are_inconclusive(rows: int, count: str) -> None:
    seen = testing.observed(RANDOM[:rows])
    found = verdict_on(seen)
    assert found.status is INCONCLUSIVE
    assert found.reason.startswith(f"Only {count} usable embedding{'' if rows == 1 else 's'}:")
    assert gate_code(seen) is ExitCode.NOT_MEASURED


def test_sixteen_rows_are_enough_for_a_verdict() -> None:
    assert verdict_on(testing.observed(RANDOM[:FEW_ROWS])).status is HEALTHY


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        (np.zeros((3, 8)), Kind.NORM),
        (np.ones((3, 8)), Kind.COMPLETE),
        (np.where(np.eye(5, 8) > 0, np.nan, 1.0), Kind.NON_FINITE),
    ],
    ids=["zero", "equal", "nan"],
)
def test_exact_facts_count_even_with_few_rows(rows: np.ndarray, kind: Kind) -> None:
    found = verdict_on(testing.observed(rows))
    assert (found.status, found.kind) == (COLLAPSED, kind)


def test_rows_that_are_not_finite_are_counted_and_listed_and_the_rest_is_measured() -> None:
    seen = testing.poisoned(bad=3)
    (finding,) = [one for one in examine(seen) if one.check == "non-finite"]
    assert list(finding.evidence["rows"]) == [0, 1, 2]
    assert finding.value == 3
    assert verdict_on(seen).reason.startswith("3 of 1000 embeddings contain NaN or Inf")
    assert seen.rows == 997 and seen.measure("mean_cosine").value == pytest.approx(0, abs=0.01)


def test_nothing_but_nan() -> None:
    found = verdict_on(testing.observed(np.full((50, 8), np.nan)))
    assert (found.status, found.kind, found.information_kept) == (COLLAPSED, Kind.NON_FINITE, None)


def test_one_dimension_has_no_cosine() -> None:
    seen = testing.observed(RANDOM[:, :1])
    found = verdict_on(seen)
    assert found.status is INCONCLUSIVE and "single dimension" in found.reason
    assert gate_code(seen) is ExitCode.NOT_MEASURED


def test_one_constant_dimension_is_collapsed() -> None:
    assert verdict_on(testing.observed(np.ones((100, 1)))).kind is Kind.COMPLETE


@pytest.mark.parametrize(("rows", "dimension"), [(20, 300), (40, 400), (64, 1024)])
def test_fewer_rows_than_dimensions_are_no_fault(rows: int, dimension: int) -> None:
    seen = testing.power_law(rows, dimension, alpha=0.3)
    assert verdict_on(seen).status is HEALTHY


# ---- which fault is the headline


def fault(kind: Kind | None, level: Level = Level.ERROR, check: str = "some-check") -> Finding:
    return Finding(check=check, outcome=Outcome.FAILED, level=level, message="something is wrong", value=1.5, kind=kind)


@pytest.fixture(scope="module")
def healthy() -> Observations:
    return testing.power_law()


def test_the_questions_are_asked_in_the_order_of_the_kinds(healthy: Observations) -> None:
    order = ["non-finite", "norm", "complete", "cluster", "dimensional", "cone"]
    assert [str(kind) for kind in Kind] == order
    for first, kind in enumerate(Kind):
        later = [fault(kind) for kind in reversed(list(Kind)[first:])]
        assert judge(healthy, later).kind is kind


def test_an_error_comes_before_a_warning_of_an_earlier_kind(healthy: Observations) -> None:
    found = judge(healthy, [fault(Kind.NORM, Level.WARNING), fault(Kind.DIMENSIONAL)])
    assert (found.status, found.kind) == (COLLAPSED, Kind.DIMENSIONAL)


def test_an_error_that_is_not_about_the_embeddings_degrades_only(healthy: Observations) -> None:
    found = judge(healthy, [fault(None)])
    assert (found.status, found.kind, found.cosine_usable) == (DEGRADED, None, True)
    assert found.reason == "Something is wrong."


def test_notes_are_no_faults(healthy: Observations) -> None:
    assert judge(healthy, [fault(Kind.CONE, Level.NOTE)]).status is HEALTHY


def test_a_warning_about_the_number_of_samples_degrades_nothing(healthy: Observations) -> None:
    assert judge(healthy, [fault(None, Level.WARNING, check="too-few-samples")]).status is HEALTHY


# ---- words


def test_repeats_are_not_called_groups() -> None:
    rows = RANDOM.copy()
    rows[:30] = rows[30:60]
    found = verdict_on(testing.observed(rows))
    assert (found.status, found.kind) == (DEGRADED, Kind.CLUSTER)
    assert found.reason == "Some items are not told apart: 270 distinct embeddings among 300."


def test_neural_collapse_is_named_and_no_fault() -> None:
    assert "within a class they are much alike" in verdict_on(testing.classified()).reason


def test_high_cosines_that_differ_are_explained() -> None:
    seen = testing.observed(np.abs(RANDOM) + 1.5)
    found = verdict_on(seen)
    assert found.status is HEALTHY and "compare ranks, not levels" in found.reason


def test_the_data_are_named_when_they_repeat() -> None:
    rows = np.ones((100, 8))
    found = verdict_on(testing.observed(rows, inputs=np.ones((100, 4), np.float32)))
    assert found.kind is Kind.COMPLETE
    assert found.reason.endswith("Look at the data first: only 1 distinct input among 100.")


def test_what_is_close_to_a_threshold_is_said(healthy: Observations) -> None:
    close = replace(fault(Kind.CONE, Level.NOTE, check="mean-cosine"), borderline=True)
    also = replace(fault(None, Level.NOTE, check="effective-rank"), outcome=Outcome.PASSED, borderline=True)
    assert judge(healthy, [close, also]).borderline == ("effective-rank", "mean-cosine")


def test_of_a_collapse_only_what_could_undo_it_is_close(healthy: Observations) -> None:
    close = replace(fault(Kind.CONE, Level.WARNING, check="mean-cosine"), borderline=True)
    error = replace(fault(Kind.COMPLETE, check="relative-spread"), borderline=True)
    assert judge(healthy, [close, fault(Kind.NORM)]).borderline == ()
    assert judge(healthy, [close, error]).borderline == ("relative-spread",)


def test_a_mean_cosine_at_its_threshold_is_called_borderline() -> None:
    seen = testing.power_law(100, 4, alpha=0, offset=11.5)
    measured = seen.measurements["mean_cosine"]
    assert measured.straddles(0.98)
    assert verdict_on(seen).borderline == ("mean-cosine",)


# ---- what nobody looked at is not healthy


def test_no_check_made_is_inconclusive(healthy: Observations) -> None:
    assert judge(healthy, []).status is INCONCLUSIVE
    assert verdict_on(healthy, select=("class-structure",)).status is INCONCLUSIVE


def test_a_broken_check_alone_is_inconclusive(healthy: Observations) -> None:
    broken = replace(fault(None), outcome=Outcome.ERRORED)
    assert judge(healthy, [broken]).status is INCONCLUSIVE


def test_a_selection_answers_only_what_it_asked() -> None:
    found = verdict_on(testing.nearly_constant(), select=("non-finite",))
    assert (found.status, found.information_kept, found.cosine_usable) == (HEALTHY, None, None)
    assert found.reason == "The checks that were made found no fault."
