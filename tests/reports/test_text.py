from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.cells import cell_len

from collapsecheck.checks import Finding, Level, Outcome
from collapsecheck.reports import Report
from collapsecheck.reports.formats.text import TextReport, fixed, shown
from collapsecheck.verdict import Status

from .conftest import MatchesGolden
from .examples import EXAMPLES, collapsed, healthy, hostile, inconclusive
from .test_json import HOSTILE

ANSI = re.compile(r"\x1b\[[0-9;]*m")
each_example = pytest.mark.parametrize("example", list(EXAMPLES.values()), ids=list(EXAMPLES))


def text_of(report: Report, *, width: int | None = None, color: bool = False) -> str:
    return TextReport().render(report, width=width, color=color)


@each_example
def test_golden(example: Callable[[], Report], matches_golden: MatchesGolden) -> None:
    matches_golden(f"{example.__name__}.txt", text_of(example()))


@each_example
@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_longer_than_the_terminal(example: Callable[[], Report], width: int) -> None:
    lines = text_of(example(), width=width).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("spread", [1.0, 1e-9])
def test_pictures_stay_on_one_line(width: int, spread: float) -> None:
    report = replace(
        collapsed(), cosine_histogram=(1,) * 60, cosine_range=(1 - spread, 1.0), spectrum=(1 / 2048,) * 2048
    )
    lines = text_of(report, width=width).splitlines()
    for title in ("cosines of pairs", "variance by direction"):
        (at,) = [i for i, line in enumerate(lines) if line.startswith(title)]
        picture = next(line for line in lines[at + 1 :] if line.startswith("  "))
        assert "█" in picture and picture[-1].isdigit() and len(picture) <= width


@each_example
def test_without_a_terminal_there_are_80_columns_and_no_color(example: Callable[[], Report]) -> None:
    text = text_of(example())
    assert text == text_of(example(), width=80)
    assert "\x1b" not in text and text.endswith("\n") and not text.endswith("\n\n")


@each_example
def test_color_adds_nothing_but_color(example: Callable[[], Report]) -> None:
    colored = text_of(example(), color=True)
    assert ANSI.search(colored)
    plain = [line.rstrip() for line in ANSI.sub("", colored).splitlines()]
    assert plain == text_of(example()).splitlines()


@pytest.mark.parametrize("variable", ["NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"])
def test_the_environment_is_the_business_of_the_command_line(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    expected = text_of(collapsed()), text_of(collapsed(), color=True)
    monkeypatch.setenv(variable, "1")
    assert (text_of(collapsed()), text_of(collapsed(), color=True)) == expected


def test_the_verdict_comes_first_and_the_exit_code_is_told() -> None:
    text = text_of(collapsed())
    assert text.startswith("COLLAPSED (complete)\nEvery input gets practically the same embedding")
    assert "(exit code 1)" in text
    assert text.splitlines()[-1].endswith("collapsecheck explain relative-spread")
    assert text_of(healthy()).startswith("HEALTHY\nDifferent inputs")
    assert text_of(healthy()).endswith("PASS: nothing against it (exit code 0)\n")


def test_a_gate_that_lets_a_fault_pass_says_so() -> None:
    verdict = replace(healthy().verdict, status=Status.DEGRADED)
    text = text_of(replace(healthy(), verdict=verdict))
    assert text.endswith("PASS: --fail-on collapsed lets degraded pass (exit code 0)\n")


def test_nothing_is_explained_when_nothing_was_measured() -> None:
    few = Finding(check="too-few-samples", outcome=Outcome.FAILED, level=Level.WARNING, message="1 embedding")
    assert "explain" not in text_of(replace(inconclusive(), findings=(few,)))


@each_example
def test_an_empty_part_leaves_no_gap(example: Callable[[], Report]) -> None:
    assert "\n\n\n" not in text_of(example())


def test_numbers_are_never_cut() -> None:
    for width in (60, 80):
        assert "…" not in text_of(collapsed(), width=width)
        assert "2.31 ± 0.20" in text_of(collapsed(), width=width)


@pytest.mark.parametrize(
    ("kept", "status", "words"),
    [
        (True, Status.HEALTHY, "Information about the items: kept."),
        (True, Status.COLLAPSED, "not destroyed, but drowned"),
        (False, Status.COLLAPSED, "Information about the items: lost."),
        (None, Status.COLLAPSED, "Information about the items: cannot be told."),
    ],
)
def test_the_answer_about_information(kept: bool | None, status: Status, words: str) -> None:
    verdict = replace(healthy().verdict, information_kept=kept, status=status)
    assert words in text_of(replace(healthy(), verdict=verdict)).replace("\n", " ")


@pytest.mark.parametrize(("usable", "words"), [(True, "usable"), (False, "not usable"), (None, "not looked at")])
def test_the_answer_about_cosine(usable: bool | None, words: str) -> None:
    verdict = replace(healthy().verdict, cosine_usable=usable)
    assert f"Raw cosine similarity: {words}.\n" in text_of(replace(healthy(), verdict=verdict))


def test_the_answers_are_not_given_when_nothing_was_measured() -> None:
    assert "Information about" not in text_of(inconclusive())


def test_worst_findings_come_first() -> None:
    words = re.findall(r"^(ERROR|BROKEN|WARNING|note) ", text_of(collapsed()), re.MULTILINE)
    assert words == ["BROKEN", "ERROR", "WARNING", "note"]


def test_passed_and_skipped_are_counted_apart() -> None:
    assert "1 check passed; 1 could not be made: class-structure." in text_of(collapsed())


@pytest.mark.parametrize("text", list(HOSTILE.values()), ids=list(HOSTILE))
def test_hostile_names_are_harmless(text: str) -> None:
    found = text_of(hostile(text))
    assert found.replace("\n", "").isprintable(), "no control, no bidirectional character"
    found.encode("utf-8")
    assert len(found) < 8000
    assert max(map(cell_len, found.splitlines())) <= 80
    assert len(re.findall(r"^(PASS|FAIL)\b", found, re.MULTILINE)) == 1, "no name can forge the last line"
    assert re.findall(r"^[A-Z]+$", found, re.MULTILINE)[0] == "DEGRADED"
    if "[" in text and "\x1b" not in text:
        assert "[red]x[/red]" in found.replace("\n", ""), "markup is shown, not obeyed"


def test_a_broken_check_is_not_called_failed() -> None:
    broken = Finding(check="x", outcome=Outcome.ERRORED, level=Level.ERROR, message="the check broke: boom")
    assert "BROKEN x: the check broke: boom" in text_of(replace(healthy(), findings=(broken,)))


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0, 3, "0"),
        (math.nan, 3, "–"),
        (math.inf, 3, "–"),
        (0.12345, 3, "0.123"),
        (12.345, 3, "12.3"),
        (123.45, 3, "123"),
        (12345.6, 3, "12,346"),
        (1.5e9, 3, "1.50e+09"),
        (0.00012345, 3, "1.2e-04"),
        (-2.5, 2, "-2.5"),
        (0.0999, 2, "0.10"),
    ],
)
def test_numbers(value: float, digits: int, text: str) -> None:
    assert shown(value, digits) == text


def test_no_negative_zero() -> None:
    assert (fixed(-0.001, 2), fixed(-0.006, 2), fixed(0.0, 4)) == ("0.00", "-0.01", "0.0000")
