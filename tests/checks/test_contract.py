"""What every check must hold, generated from the files in the folder."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from collapsecheck import checks, testing
from collapsecheck.checks import Check, Finding, Level, Outcome
from collapsecheck.examination import all_checks, examine, run
from collapsecheck.observe import Observations
from collapsecheck.reports.formats.json import plain

CHECKS = all_checks()
every_check = pytest.mark.parametrize("check", list(CHECKS.values()), ids=list(CHECKS))


def of(findings: list[Finding], outcome: Outcome) -> list[Finding]:
    return [finding for finding in findings if finding.outcome is outcome]


def test_all_files_are_found() -> None:
    files = {path.stem.replace("_", "-") for path in Path(checks.__file__).parent.glob("[!_]*.py")}
    assert set(CHECKS) == files


@every_check
def test_the_id_is_the_name_of_the_file(check: type[Check]) -> None:
    assert check().id == check.__module__.rpartition(".")[2].replace("_", "-")
    assert check.__name__.lower() == check().id.replace("-", "")


@every_check
def test_the_docstring_says_what_explain_needs(check: type[Check]) -> None:
    lines = (check.__doc__ or "").splitlines()
    assert lines[0].endswith((".", ":", "?")) or lines[1].strip(), "the first paragraph is the summary"
    for word in ("Measures", "Healthy", "Fails"):
        assert any(line.strip().startswith(word) for line in lines), f"no line starts with {word}"


@every_check
def test_thresholds_are_numbers_that_can_be_replaced(check: type[Check]) -> None:
    for name, number in check.thresholds.items():
        assert isinstance(number, float) and math.isfinite(number), name
        assert check({name: 7.5}).limits == {**check.thresholds, name: 7.5}
    assert check().limits == dict(check.thresholds)


@every_check
def test_it_passes_on_its_healthy_example(check: type[Check]) -> None:
    findings = run(check(), check.HEALTHY())
    if check.__module__.endswith("class_structure"):  # that example has no labels
        assert {finding.outcome for finding in findings} <= {Outcome.PASSED, Outcome.SKIPPED}
    else:
        assert {finding.outcome for finding in findings} == {Outcome.PASSED}


@every_check
def test_it_fails_on_its_collapsed_example(check: type[Check]) -> None:
    findings = run(check(), check.COLLAPSED())
    assert of(findings, Outcome.FAILED)
    assert not of(findings, Outcome.ERRORED)


@every_check
@pytest.mark.parametrize("example", ["HEALTHY", "COLLAPSED"])
def test_its_findings_are_plain_and_complete(check: type[Check], example: str) -> None:
    for finding in run(check(), getattr(check, example)()):
        assert finding.check == check().id
        assert finding.message and finding.message == finding.message.strip() and "\n" not in finding.message
        assert not finding.message.endswith("."), "messages become parts of sentences"
        evidence = json.loads(json.dumps(plain(dict(finding.evidence)), allow_nan=False))
        assert set(evidence) == set(finding.evidence)
        if finding.kind is not None:
            assert finding.level in (Level.ERROR, Level.WARNING, Level.NOTE)
        if finding.outcome is not Outcome.SKIPPED:
            assert finding.value is not None and math.isfinite(finding.value)


# ---- input on which there is nothing to see

RANDOM = np.random.default_rng(0).standard_normal((200, 8))
DEGENERATE = {
    "no rows": np.zeros((0, 8)),
    "one row": RANDOM[:1],
    "two rows": RANDOM[:2],
    "two equal rows": np.ones((2, 8)),
    "three rows": RANDOM[:3],
    "one dimension": RANDOM[:, :1],
    "one positive dimension": abs(RANDOM[:, :1]),
    "one constant dimension": np.ones((200, 1)),
    "two dimensions": RANDOM[:, :2],
    "zero": np.zeros((200, 8)),
    "one zero row": np.zeros((1, 8)),
    "nan": np.full((200, 8), np.nan),
    "inf": np.full((200, 8), np.inf),
    "one row not nan": np.vstack([RANDOM[:1], np.full((199, 8), np.nan)]),
    "constant": np.full((200, 8), 3.0),
    "antipodes": np.outer(np.sign(RANDOM[:, 0]), np.ones(8)),
    "fewer rows than dimensions": np.random.default_rng(0).standard_normal((20, 300)),
    "huge": RANDOM * 1e37,
    "denormal": RANDOM * 1e-41,
}

# What is counted is known however little there is.
COUNTING = {"non-finite", "readable-data", "too-few-samples"}


def observed(name: str, given: str) -> Observations:
    rows = DEGENERATE[name]
    inputs = np.arange(len(rows) * 4, dtype=np.float32).reshape(len(rows), 4)
    labels = np.arange(len(rows)) % 3
    return testing.observed(rows, inputs=inputs, labels=labels) if given == "all" else testing.observed(rows)


@pytest.fixture(scope="module")
def examined() -> dict[tuple[str, str], list[Finding]]:
    """Findings on all of them, made once; a warning of NumPy on the way is an error."""
    return {(name, given): examine(observed(name, given)) for name in DEGENERATE for given in ("rows", "all")}


@pytest.mark.parametrize("given", ["rows", "all"])
@pytest.mark.parametrize("name", list(DEGENERATE))
def test_degenerate_input_breaks_no_check(
    examined: dict[tuple[str, str], list[Finding]], name: str, given: str
) -> None:
    findings = examined[name, given]
    assert {finding.check for finding in findings} == set(CHECKS)
    assert [finding.message for finding in of(findings, Outcome.ERRORED)] == []
    for finding in of(findings, Outcome.SKIPPED):
        assert len(finding.message) > 10, "a reason"
        assert finding.value is None


@pytest.mark.parametrize("given", ["rows", "all"])
@pytest.mark.parametrize("name", list(DEGENERATE))
def test_nothing_passes_without_a_value(examined: dict[tuple[str, str], list[Finding]], name: str, given: str) -> None:
    for finding in of(examined[name, given], Outcome.PASSED):
        assert finding.value is not None and math.isfinite(finding.value), finding


@pytest.mark.parametrize("given", ["rows", "all"])
@pytest.mark.parametrize("name", ["no rows", "one row", "one zero row", "nan", "inf", "one row not nan"])
def test_what_cannot_be_seen_is_skipped(examined: dict[tuple[str, str], list[Finding]], name: str, given: str) -> None:
    passed = {finding.check for finding in of(examined[name, given], Outcome.PASSED)}
    of_one_row = {"norm-collapse"} if "one" in name else set()
    of_the_inputs = {"distinct-inputs"} if given == "all" else set()
    assert passed <= COUNTING | of_one_row | of_the_inputs


@pytest.mark.parametrize("given", ["rows", "all"])
@pytest.mark.parametrize("name", ["zero", "constant", "one constant dimension"])
def test_nothing_about_geometry_passes_without_any(
    examined: dict[tuple[str, str], list[Finding]], name: str, given: str
) -> None:
    passed = {finding.check for finding in of(examined[name, given], Outcome.PASSED)}
    assert passed <= COUNTING | {"norm-collapse", "distinct-inputs", "class-structure"}


@pytest.mark.parametrize("name", ["one dimension", "one positive dimension"])
def test_nothing_about_cosines_and_ranks_passes_in_one_dimension(
    examined: dict[tuple[str, str], list[Finding]], name: str
) -> None:
    passed = {finding.check for finding in of(examined[name, "rows"], Outcome.PASSED)}
    assert not passed & {"mean-cosine", "relative-spread", "effective-rank", "dominant-dimension"}
