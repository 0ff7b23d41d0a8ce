from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapsecheck.checkpoints import HeldTensor, ModuleRecord, Name, Stand
from collapsecheck.checkpoints.plain_values import key_text, number, plain

ONE = HeldTensor(dtype="float64", shape=(), content=b"\0\0\0\0\0\0\xf8\x3f")  # 1.5


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None), (True, True), (3, 3), (2.5, 2.5), ("text", "text"), ((1, [2]), [1, [2]]), ({3: {1}}, {"3": [1]}),
        (b"abc", "3 bytes"), (1 + 2j, "(1+2j)"), (10**100, "an integer of 333 bits"), (Name("a.B"), "class a.B"),
        (ONE, 1.5), (HeldTensor(dtype="int8", shape=(2, 3), content=b""), "tensor 2×3 int8"),
        (Stand(path="argparse.Namespace", state={"lr": 1, "sub": Stand(path="types.SimpleNamespace", state={"x": 2})}),
         {"lr": 1, "sub": {"x": 2}}),
        (Stand(path="pathlib.PosixPath", arguments=("/", "data", "x")), "/data/x"),
        (Stand(path="a.Color", arguments=(3,)), "a.Color(3)"),
        (Stand(path="a.Config", state={"size": 3, "name": "x"}), "a.Config(size=3, name='x')"),
        (Stand(path="a.Odd", state=7), "a.Odd()"),
        (ModuleRecord(path="a.M", attributes={}, parameters={}, buffers={}, children={}), "module a.M"),
    ],
    ids=str,
)  # fmt: skip
def test_values(value: Any, expected: Any) -> None:
    assert plain(value) == expected


def test_size_depth_and_length_are_bounded() -> None:
    deep: Any = 1
    for _ in range(10_000):
        deep = [deep]
    itself: dict[str, Any] = {}
    itself["self"] = itself
    stand = Stand(path="a.B", arguments=())
    stand.arguments = (stand, stand)
    wide = {str(i): [[j] * 100 for j in range(200)] for i in range(200)}
    for value in (deep, itself, stand, wide, "x" * 10_000_000, {"x" * 10_000_000: 1}):
        assert len(json.dumps(plain(value))) < 50_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1), (2.5, 2.5), (ONE, 1.5), (True, None), ("1", None), (math.nan, None), (math.inf, None), (10**400, None),
     (None, None), (HeldTensor(dtype="float32", shape=(2,), content=b"\0" * 8), None)],
)  # fmt: skip
def test_numbers(value: Any, expected: float | None) -> None:
    assert number(value) == expected


@given(st.text() | st.integers() | st.floats() | st.none() | st.booleans() | st.tuples(st.integers()))
def test_keys(key: Any) -> None:
    assert isinstance(key_text(key), str)
    assert not isinstance(key, str) or key_text(key) == key


def test_a_key_of_ten_thousand_digits() -> None:
    assert key_text(10**10_000) == "an integer of 33220 bits"
