from __future__ import annotations

import inspect

import pytest

from collapsecheck.diagnosis import all_causes
from collapsecheck.examination import all_checks

from .conftest import Call


def test_without_an_id_all_checks_are_listed(call: Call) -> None:
    found = call("explain")
    assert found.code == 0
    known = [*all_checks().items(), *all_causes().items()]
    lines = [line for line in found.out.splitlines() if line.split() and line.split()[0] in dict(known)]
    assert [line.split()[0] for line in lines] == [name for name, _ in known]
    for line, (_, each) in zip(lines, known, strict=True):
        assert line.split(maxsplit=1)[1] == (each.__doc__ or "").splitlines()[0]


@pytest.mark.parametrize("name", list(all_checks() | all_causes()))
def test_each_is_explained_by_its_docstring(call: Call, name: str) -> None:
    found = call("explain", name)
    assert found.code == 0
    texts = [inspect.getdoc(group[name]) or "" for group in (all_checks(), all_causes()) if name in group]
    assert found.out == f"{name}\n{'-' * len(name)}\n" + "\n\n".join(texts) + "\n"


def test_an_unknown_check_is_a_usage_error_with_a_suggestion(call: Call) -> None:
    found = call("explain", "efective-rank")
    assert (found.code, found.out) == (2, "")
    assert found.err == "collapsecheck: unknown check or cause 'efective-rank'; did you mean 'effective-rank'?\n"


def test_an_unknown_check_unlike_any_lists_them(call: Call) -> None:
    found = call("explain", "xyz")
    assert found.code == 2 and f"known are: {', '.join(sorted(all_checks() | all_causes()))}" in found.err
