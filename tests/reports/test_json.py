from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import jsonschema
import numpy as np
import pytest

from collapsecheck import testing
from collapsecheck.checks import Kind, Level, Outcome
from collapsecheck.exit_codes import ExitCode
from collapsecheck.gate import Met
from collapsecheck.observe import Observations
from collapsecheck.reports import DataFacts, ModelFacts, Report
from collapsecheck.reports.formats.json import JUDGED_BY, JsonReport, plain
from collapsecheck.scanning import report_on
from collapsecheck.settings import FAIL_ON, Settings
from collapsecheck.verdict import Status

from .conftest import MatchesGolden
from .examples import EXAMPLES, RUN, collapsed, hostile, strings

SCHEMA: dict[str, Any] = json.loads(files("collapsecheck.reports").joinpath("schema-v1.json").read_text("utf-8"))
HOSTILE = {
    "escape": "\x1b[31mred\x1b]0;title\x07",
    "newline": "a\nPASS: nothing against it (exit code 0)\r\n",
    "markup": "[red]x[/red] [link=http://x]y[/link] :boom:",
    "bidi": "\u202egnp.exe\u2066\u200b",
    "surrogate": "lone \udc80 surrogate",
    "nul": "a\x00b\x7f\x85",
    "html": "<script>alert(1)</script> ]]> %0A::error",
    "wide": "漢字" * 60 + "🙂",
    "megabyte": "x" * 1_000_000,
}
each_example = pytest.mark.parametrize("example", list(EXAMPLES.values()), ids=list(EXAMPLES))


def strict(text: str) -> Any:
    """Parse as a strict reader would: no NaN, no Infinity."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


def rendered(report: Report) -> Any:
    found = strict(JsonReport().render(report))
    jsonschema.validate(found, SCHEMA, jsonschema.Draft202012Validator)
    return found


def report_of(seen: Observations, **settings: Any) -> Report:
    return report_on(
        seen,
        Settings(**settings),
        model=ModelFacts(path="x.npy", format="embeddings", embedding_dim=seen.dimension),
        data=DataFacts(path="x.npy", kind="float32 vectors", seen=seen.items, used=seen.rows),
        run=RUN,
    )


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_schema_knows_every_word() -> None:
    verdict = SCHEMA["properties"]["verdict"]["properties"]
    finding = SCHEMA["properties"]["findings"]["items"]["properties"]
    requirement = verdict["gate"]["properties"]["requirements"]["items"]["properties"]
    for words, enum in [
        (Status, verdict["status"]),
        ([*Kind, None], verdict["kind"]),
        ([*Kind, None], finding["kind"]),
        (Outcome, finding["outcome"]),
        (Level, finding["level"]),
        (Met, requirement["outcome"]),
        (FAIL_ON, verdict["gate"]["properties"]["fail_on"]),
        ([ExitCode.PASSED, ExitCode.FAILED, ExitCode.NOT_MEASURED, ExitCode.INTERNAL], verdict["exit_code"]),
    ]:
        assert set(words) == set(enum["enum"])


@each_example
def test_golden(example: Callable[[], Report], matches_golden: MatchesGolden) -> None:
    text = JsonReport().render(example())
    matches_golden(f"{example.__name__}.json", re.sub(r'("version": )"[^"]*"', r'\1"VERSION"', text))


@each_example
def test_it_is_valid_and_in_the_promised_order(example: Callable[[], Report]) -> None:
    found = rendered(example())
    assert list(found) == [
        "schema_version", "tool", "model", "data", "verdict", "metrics", "findings", "onset", "layers", "diagnoses",
        "outlook", "run",
    ]  # fmt: skip
    assert found["schema_version"] == "1.0"
    assert (found["onset"], found["layers"], found["diagnoses"], found["outlook"]) == (None, [], [], None)


@pytest.mark.parametrize(
    "example",
    ["power_law", "nearly_constant", "cone", "low_rank", "few_points", "scaled", "poisoned", "classified", "few_rows",
     "partly_loaded", "partly_read"],
)  # fmt: skip
def test_real_observations_are_valid_too(example: str) -> None:
    report = report_of(getattr(testing, example)(), require=("effective_rank>=2", "rows<inf"))
    found = rendered(report)
    assert found["verdict"]["exit_code"] == report.gate.exit_code
    assert {one["check"] for one in found["findings"]} == {one.check for one in report.findings}


@pytest.mark.parametrize(
    "rows",
    [np.zeros((0, 4)), np.ones((1, 4)), np.zeros((9, 4)), np.full((9, 4), np.nan), np.ones((40, 1)), np.eye(2, 900)],
    ids=["none", "one", "zero", "nan", "constant", "wide"],
)
def test_degenerate_observations_are_valid_too(rows: np.ndarray) -> None:
    rendered(report_of(testing.observed(rows)))


def test_nan_and_inf_are_null() -> None:
    values = {"a": math.nan, "b": [math.inf, -math.inf], "c": {"d": np.float32("nan")}, "e": (1.5,), "f": np.int64(3)}
    assert plain(values) == {"a": None, "b": [None, None], "c": {"d": None}, "e": [1.5], "f": 3}
    found = rendered(collapsed())
    assert found["metrics"]["undetermined"] == {"value": None, "interval": None, "threshold": None, "null": None}
    assert next(one for one in found["findings"] if one["check"] == "mean-cosine")["evidence"]["nan"] is None


@pytest.mark.parametrize("value", [True, False, None, 0, 12345678901234567890, "x", 0.1, 1e-300])
def test_plain_values_stay_as_they_are(value: Any) -> None:
    assert plain(value) is value or plain(value) == value


def test_numbers_have_ten_digits() -> None:
    assert plain(1 / 3) == 0.3333333333
    assert plain(123456789.123456789) == 123456789.1


def test_metrics_are_sorted_and_carry_what_they_are_held_against() -> None:
    metrics = rendered(collapsed())["metrics"]
    assert list(metrics) == sorted(metrics)
    assert metrics["mean_cosine"] == {"value": 0.99995, "interval": [0.9999, 0.99998], "threshold": 0.98, "null": 0.0}
    assert metrics["unit_spread"]["threshold"] == 0.01


def test_every_metric_with_a_threshold_and_its_check_exist() -> None:
    seen = testing.classified()
    report = report_of(seen)
    assert set(JUDGED_BY) <= set(seen.measurements)
    assert set(JUDGED_BY.values()) <= {finding.check for finding in report.findings}


def test_two_renderings_are_equal() -> None:
    assert JsonReport().render(collapsed()) == JsonReport().render(collapsed())
    assert JsonReport().render(collapsed(), width=40, color=True) == JsonReport().render(collapsed())


@pytest.mark.parametrize("text", list(HOSTILE.values()), ids=list(HOSTILE))
def test_hostile_names_come_back_unharmed_from_pure_ascii(text: str) -> None:
    raw = JsonReport().render(hostile(text))
    assert raw.isascii() and raw.replace("\n", "").isprintable()
    found = strict(raw)
    jsonschema.validate(found, SCHEMA)
    assert found["model"]["path"] == text
    assert found["findings"][0]["evidence"][text] == {"nested": [text]}
    assert sum(text in one for one in strings(found)) == 19
