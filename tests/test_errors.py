from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapsecheck.errors import (
    CollapsecheckError,
    NotLoadableError,
    NotMeasuredError,
    UsageError,
    did_you_mean,
    printable,
)
from collapsecheck.exit_codes import ExitCode


def test_each_error_has_its_exit_code() -> None:
    codes = {kind: kind.exit_code for kind in CollapsecheckError.__subclasses__()}
    assert codes == {
        UsageError: ExitCode.USAGE,
        NotLoadableError: ExitCode.NOT_LOADABLE,
        NotMeasuredError: ExitCode.NOT_MEASURED,
    }
    assert CollapsecheckError.exit_code is ExitCode.INTERNAL


def test_suggestions() -> None:
    assert did_you_mean("efective-rank", ["mean-cosine", "effective-rank"]) == "; did you mean 'effective-rank'?"
    assert did_you_mean("xyz", ["b", "a"]) == "; known are: a, b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name_1.png", "plain name_1.png"),
        ("grüße 漢字 🙂", "grüße 漢字 🙂"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\r\tc\x00\x7f\x85", "a\\nb\\r\\tc\\x00\\x7f\\x85"),
        ("\u202egnp\u2066\u200b\u2028", "\\u202egnp\\u2066\\u200b\\u2028"),
        ("lone \udc80", "lone \\udc80"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_what_is_shown_of_a_name(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(exclude_categories=())), st.integers(1, 50))
def test_any_name_is_safe_and_short(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable() and len(shown) <= limit
    shown.encode("utf-8")
