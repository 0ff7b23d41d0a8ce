from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapsecheck.errors import UsageError
from collapsecheck.settings import Settings, load_settings, parse_threshold, parse_thresholds

Configure = Callable[[str], Path]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("COLLAPSECHECK_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """Write pyproject.toml and return the folder it is in."""

    def write(text: str) -> Path:
        (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
        return tmp_path

    return write


def test_nothing_given_is_the_defaults(tmp_path: Path) -> None:
    assert load_settings({}, folder=tmp_path) == Settings()


# ---- precedence


def test_environment_beats_pyproject_and_flags_beat_both(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = configure('[tool.collapsecheck]\nfail-on = "never"\nseed = 1\nmax-samples = 10\nprecision = "fp16"')
    monkeypatch.setenv("COLLAPSECHECK_SEED", "2")
    monkeypatch.setenv("COLLAPSECHECK_MAX_SAMPLES", "20")
    found = load_settings({"max_samples": 30, "seed": None, "require": ()}, folder=folder)
    assert (found.fail_on, found.precision, found.seed, found.max_samples) == ("never", "fp16", 2, 30)


def test_lists_of_a_later_source_replace_those_of_an_earlier(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = configure('[tool.collapsecheck]\nselect = ["mean-cosine", "non-finite"]\nignore = "class-structure"')
    monkeypatch.setenv("COLLAPSECHECK_SELECT", "norm-collapse, effective-rank")
    found = load_settings({}, folder=folder)
    assert found.select == ("norm-collapse", "effective-rank")
    assert found.ignore == ("class-structure",)


def test_thresholds_of_all_sources_are_merged(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = configure(
        "[tool.collapsecheck.thresholds.mean-cosine]\nwarning = 0.9\nnote = 0.8\n"
        "[tool.collapsecheck.thresholds.norm-collapse]\nnorm_error = 1"
    )
    monkeypatch.setenv("COLLAPSECHECK_THRESHOLDS", "mean-cosine.warning=0.91,effective-rank.rank_error=5")
    found = load_settings({"thresholds": {"effective-rank": {"rank_error": 6.0}}}, folder=folder)
    assert found.thresholds == {
        "mean-cosine": {"warning": 0.91, "note": 0.8},
        "norm-collapse": {"norm_error": 1},
        "effective-rank": {"rank_error": 6.0},
    }


def test_the_nearest_pyproject_counts(configure: Configure) -> None:
    folder = configure("[tool.collapsecheck]\nseed = 5")
    below = folder / "src" / "deep"
    below.mkdir(parents=True)
    assert load_settings({}, folder=below).seed == 5
    (folder / "src" / "pyproject.toml").write_text("")
    assert load_settings({}, folder=below).seed == 0


def test_auto_on_the_command_line_beats_a_number_in_pyproject(configure: Configure) -> None:
    folder = configure("[tool.collapsecheck]\nbatch-size = 8\nworkers = 2")
    assert load_settings({"batch_size": "auto"}, folder=folder).batch_size is None
    assert load_settings({"batch_size": "auto"}, folder=folder).workers == 2


def test_auto_may_be_said_everywhere(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = configure('[tool.collapsecheck]\nbatch-size = "auto"\ndevice = "auto"')
    monkeypatch.setenv("COLLAPSECHECK_WORKERS", "auto")
    found = load_settings({}, folder=folder)
    assert (found.batch_size, found.workers, found.device) == (None, None, "auto")


# ---- mistakes are usage errors that name the setting, its source and the nearest right one


@pytest.mark.parametrize(
    ("key", "hint"),
    [("fail_onn = 1", "did you mean 'fail-on'"), ("max-unredable = 1", "did you mean 'max-unreadable'")],
)
def test_unknown_key_in_pyproject(configure: Configure, key: str, hint: str) -> None:
    folder = configure(f"[tool.collapsecheck]\n{key}")
    with pytest.raises(UsageError, match=hint) as caught:
        load_settings({}, folder=folder)
    assert str(folder / "pyproject.toml") in str(caught.value)


def test_unknown_key_far_from_any_lists_them_all(configure: Configure) -> None:
    with pytest.raises(UsageError, match="known are: batch-size, device, diagnose, fail-on"):
        load_settings({}, folder=configure("[tool.collapsecheck]\nqqq = 1"))


def test_unknown_key_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAPSECHECK_SEEED", "1")
    with pytest.raises(UsageError, match=r"environment variable COLLAPSECHECK_SEEED.*did you mean 'seed'"):
        load_settings({}, folder=tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "fail-on = 1",
        'seed = "1"',
        "seed = true",
        "seed = 1.5",
        "max-unreadable = true",
        'max-unreadable = "0.1"',
        "select = 3",
        "select = [1]",
        "thresholds = 3",
        "thresholds = {mean-cosine = 1}",
        'thresholds = {mean-cosine = {warning = "x"}}',
        "thresholds = {mean-cosine = {warning = true}}",
        'seed = "auto"',
        'max-unreadable = "auto"',
    ],
)
def test_wrong_types_in_pyproject(configure: Configure, line: str) -> None:
    with pytest.raises(UsageError, match=f"{line.split()[0]} has a value of the wrong type"):
        load_settings({}, folder=configure(f"[tool.collapsecheck]\n{line}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.collapsecheck", "not readable as TOML"),
        ("[tool]\ncollapsecheck = 3", "must be a table"),
        ("[[tool.collapsecheck]]\nseed = 1", "must be a table"),
    ],
)
def test_damaged_pyproject(configure: Configure, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_settings({}, folder=configure(text))


@pytest.mark.parametrize("text", ["", "tool = 3", "[project]\nname = 'x'", "[tool.ruff]\nline-length = 3"])
def test_pyproject_of_others(configure: Configure, text: str) -> None:
    assert load_settings({}, folder=configure(text)) == Settings()


@pytest.mark.parametrize(
    ("variable", "text"),
    [("SEED", "one"), ("MAX_UNREADABLE", "1%"), ("BATCH_SIZE", "big"), ("SEED", "auto"), ("SEED", "")],
)
def test_wrong_types_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    monkeypatch.setenv(f"COLLAPSECHECK_{variable}", text)
    with pytest.raises(UsageError, match=f"COLLAPSECHECK_{variable}: expected a number"):
        load_settings({}, folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("fail_on", "collapse", "unknown value 'collapse' for fail-on; did you mean 'collapsed'"),
        ("precision", "fp61", "for precision; did you mean 'fp16'"),
        ("max_unreadable", 1.5, "max-unreadable must be a share between 0 and 1"),
        ("max_unreadable", math.nan, "max-unreadable must be a share between 0 and 1"),
        ("max_samples", 0, "max-samples must be at least 1"),
        ("batch_size", -1, "batch-size must be at least 1"),
        ("workers", -1, "workers must be 0 or more"),
        ("seed", -1, "seed must be 0 or more"),
        ("thresholds", {"mean-cosine": {"warning": math.nan}}, "threshold mean-cosine.warning must be a number"),
    ],
)
def test_values_out_of_range(name: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Settings(**{name: value})


# ---- CHECK.THRESHOLD=NUMBER


def test_a_threshold_is_read() -> None:
    assert parse_threshold(" mean-cosine.warning = 0.97") == {"mean-cosine": {"warning": 0.97}}


def test_later_thresholds_win() -> None:
    assert parse_thresholds(["a.x=1", "a.y=2", "a.x=3"]) == {"a": {"x": 3, "y": 2}}


names = st.from_regex(r"[a-z]+(-[a-z]+)*", fullmatch=True)


@given(check=names, name=st.from_regex(r"[a-z_]+", fullmatch=True), number=st.floats(allow_nan=False))
def test_every_threshold_comes_back(check: str, name: str, number: float) -> None:
    assert parse_threshold(f"{check}.{name}={number!r}") == {check: {name: number}}


@given(st.text())
def test_any_other_text_is_a_usage_error_and_nothing_worse(text: str) -> None:
    with contextlib.suppress(UsageError):
        ((_, limits),) = parse_threshold(text).items()
        assert all(isinstance(number, float) for number in limits.values())


@pytest.mark.parametrize("text", ["", "mean-cosine", "mean-cosine=1", "mean-cosine.warning", "a.b=c", "a.b="])
def test_what_a_threshold_must_look_like(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected CHECK\.THRESHOLD=NUMBER, such as"):
        parse_threshold(text)
