"""The wire format of Protocol Buffers, read with limits: every declared length is checked before it is followed."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from collapsecheck.errors import NotLoadableError

Buffer = bytes | mmap.mmap

_VARINT_BYTES = 10  # of 64 bits, 7 in each
_FIXED = {1: 8, 5: 4}


class Wire(IntEnum):
    """How the value of a field is stored."""

    VARINT = 0
    FIXED64 = 1
    LENGTH = 2
    FIXED32 = 5


class DamagedError(NotLoadableError):
    """The bytes are not what the format allows."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: its number, and where in the buffer its value lies (`start` to `end`, in bytes).

    `value` is the number of a varint; of other fields it is 0.
    """

    number: int
    wire: Wire
    start: int
    end: int
    value: int = 0


def fields(held: Buffer, start: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message that lies at `start` to `end`, without looking into them.

    Raises
    ------
    DamagedError
        If one reaches beyond the end, or is stored in a way that is not, or no longer, defined (groups).
    """
    while start < end:
        tag, start = varint(held, start, end)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise DamagedError("a field without a valid number")
        if wire == Wire.VARINT:
            value, after = varint(held, start, end)
            yield Field(number, Wire.VARINT, start, after, value)
        elif wire == Wire.LENGTH:
            length, start = varint(held, start, end)
            after = start + length
            if after > end:
                raise DamagedError(f"a field declares {length:,} bytes where {end - start:,} are left")
            yield Field(number, Wire.LENGTH, start, after)
        elif wire in _FIXED:
            after = start + _FIXED[wire]
            if after > end:
                raise DamagedError("the last field is cut off")
            yield Field(number, Wire(wire), start, after)
        else:
            raise DamagedError(f"a field is stored in the unknown way {wire}")
        start = after


def varint(held: Buffer, start: int, end: int) -> tuple[int, int]:
    """Return the unsigned number of at most 64 bits at `start`, and where it ends.

    Raises
    ------
    DamagedError
        If it is longer, or cut off.
    """
    value = 0
    for index in range(_VARINT_BYTES):
        if start + index >= end:
            raise DamagedError("a number is cut off")
        byte = held[start + index]
        value |= (byte & 127) << 7 * index
        if byte < 128:
            if value >> 64:
                break
            return value, start + index + 1
    raise DamagedError("a number has more than 64 bits")


def varints(held: Buffer, field: Field) -> Iterator[int]:
    """Yield the numbers of a repeated field: a single one, or many packed into one field."""
    if field.wire == Wire.VARINT:
        yield field.value
        return
    at = field.start
    while at < field.end:
        value, at = varint(held, at, field.end)
        yield value


def signed(value: int) -> int:
    """Read an unsigned number of 64 bits as a signed one."""
    return value - (1 << 64) if value >> 63 else value


def text(held: Buffer, field: Field) -> str:
    """Return the text of a field.

    Raises
    ------
    DamagedError
        If it is no UTF-8.
    """
    if field.wire != Wire.LENGTH:
        raise DamagedError("a name is stored as a number")
    try:
        return bytes(held[field.start : field.end]).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DamagedError("a name is not valid UTF-8") from error
