from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapsecheck.checkpoints.protobuf import DamagedError, Wire, fields, signed, text, varint, varints
from tests.checkpoints.onnx.files import number, part
from tests.checkpoints.onnx.files import varint as stored


@given(st.integers(0, (1 << 64) - 1))
def test_numbers_come_back(value: int) -> None:
    content = number(value)
    assert varint(content, 0, len(content)) == (value, len(content))


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_signed_numbers_come_back(value: int) -> None:
    content = number(value)
    assert signed(varint(content, 0, len(content))[0]) == value


@given(st.lists(st.tuples(st.integers(1, 1 << 20), st.binary(max_size=40) | st.integers(0, (1 << 64) - 1))))
def test_fields_come_back(written: list[tuple[int, bytes | int]]) -> None:
    content = b"".join(part(n, value) if isinstance(value, bytes) else stored(n, value) for n, value in written)
    found = [
        (one.number, content[one.start : one.end] if one.wire == Wire.LENGTH else one.value)
        for one in fields(content, 0, len(content))
    ]
    assert found == written


@given(st.binary(max_size=200))
def test_anything_ends_in_fields_or_in_the_error(content: bytes) -> None:
    try:
        for one in fields(content, 0, len(content)):
            assert 0 <= one.start <= one.end <= len(content)
            if one.wire == Wire.LENGTH:
                list(varints(content, one))
                text(content, one)
    except DamagedError as error:
        assert str(error).isprintable()


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 9,  # cut off
        b"\x08" + b"\xff" * 10 + b"\x01",  # 77 bits
        b"\x08" + b"\xff" * 9 + b"\x02",  # 65 bits
        part(1, b"abc")[:-1],
        b"\x0a" + number(1 << 63),
        b"\x0a" + number((1 << 64) - 1) + b"x",
        b"\x09abc",
        b"\x0dabc",
        b"\x0b\x0c",  # groups
        b"\x00\x00",
    ],
)
def test_damage_is_said(content: bytes) -> None:
    with pytest.raises(DamagedError):
        list(fields(content, 0, len(content)))


def test_a_name_has_to_be_text() -> None:
    for content in (part(1, b"\xff\xfe"), stored(1, 5)):
        with pytest.raises(DamagedError):
            text(content, next(fields(content, 0, len(content))))
