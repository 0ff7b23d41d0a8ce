"""Tensors of an ONNX file: their bytes stay in the file, or in the one beside it that the file names."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from collapsecheck.checkpoints.directories import inside
from collapsecheck.checkpoints.json_reader import regular_file
from collapsecheck.checkpoints.onnx.unpacking import BITS, same_number, unpacked
from collapsecheck.checkpoints.protobuf import Buffer, Field, fields, signed, text, varints
from collapsecheck.checkpoints.stored import ITEMSIZE, HeldTensor, MappedTensor, StoredTensor
from collapsecheck.errors import NotLoadableError, printable

#: The numbers of TensorProto.DataType, by torch's names; those that torch does not have are not stored tensors.
TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4_e2m1", 24: "float8_e8m0fnu", 25: "uint2", 26: "int2",
}  # fmt: skip
# Numbers of the fields that hold the elements, where these are not raw bytes; other types are in _NARROW.
_WIDE = {"float32": 4, "complex64": 4, "float64": 10, "complex128": 10, "int64": 7, "uint64": 11, "uint32": 11}
_NARROW, _STRINGS, _RAW = 5, 6, 9
_DATA = frozenset((4, _NARROW, _STRINGS, 7, _RAW, 10, 11))
_MOST_DIMENSIONS = 64
_EXTERNAL = 1


@dataclass(slots=True)
class _Proto:
    """The fields of a TensorProto, as far as they are of use."""

    name: str = ""
    type: int = 0
    dims: list[int] = field(default_factory=list)
    data: dict[int, list[Field]] = field(default_factory=dict)
    location: int = 0
    external: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NamedTensor:
    """A tensor of the file; `stored` is None where torch has no such type: texts, and numbers of less than a byte."""

    name: str
    type: str
    shape: tuple[int, ...]
    stored: StoredTensor | None
    file: Path | None = None  # the one beside the model that holds it

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def read_tensor(held: Buffer, at: Field, path: Path, *, may_be_external: bool) -> NamedTensor:
    """Return the tensor (a TensorProto) at a field of a file; checks that it has exactly the bytes it declares.

    Parameters
    ----------
    may_be_external
        Whether its numbers may lie in another file, which is only looked for in the directory of this one.

    Raises
    ------
    NotLoadableError
        If it is damaged, or names a file elsewhere.
    """
    proto = _parsed(held, at)
    shown = f"the tensor {printable(proto.name, 80)}" if proto.name else "a tensor without a name"
    kind = TYPES.get(proto.type)
    if kind is None:
        raise NotLoadableError(f"{shown} has the unknown type {proto.type}; export the model with a current release")
    shape = tuple(proto.dims)
    if min(shape, default=0) < 0 or len(shape) > _MOST_DIMENSIONS:
        raise NotLoadableError(f"{shown} has an impossible shape; the file is damaged, export the model again")
    if proto.location == _EXTERNAL or proto.external:
        if not may_be_external or proto.data:
            raise NotLoadableError(f"{shown} lies in another file where it may not; export the model again")
        stored, file = _external(proto, kind, shape, path, shown)
        return NamedTensor(proto.name, kind, shape, stored, file)
    return NamedTensor(proto.name, kind, shape, _own(held, proto, kind, path, shown))


def _parsed(held: Buffer, at: Field) -> _Proto:
    proto = _Proto()
    for one in fields(held, at.start, at.end):
        if one.number == 1:
            proto.dims += (signed(value) for value in varints(held, one))
            if len(proto.dims) > 2 * _MOST_DIMENSIONS:
                raise NotLoadableError("a tensor has an impossible shape; the file is damaged, export the model again")
        elif one.number == 2:
            proto.type = one.value
        elif one.number == 3:
            raise NotLoadableError("a tensor is stored in segments, which is not supported; export the model again")
        elif one.number in _DATA:
            proto.data.setdefault(one.number, []).append(one)
        elif one.number == 8:
            proto.name = text(held, one)
        elif one.number == 13:
            key, value = entry(held, one)
            if key in proto.external:
                raise NotLoadableError("a tensor names its file twice; the file is damaged, export the model again")
            proto.external[key] = value
        elif one.number == 14:
            proto.location = one.value
    return proto


def entry(held: Buffer, at: Field) -> tuple[str, str]:
    """Return key and value of a StringStringEntryProto."""
    found = {1: "", 2: ""}
    for one in fields(held, at.start, at.end):
        if one.number in found:
            found[one.number] = text(held, one)
    return found[1], found[2]


def _own(held: Buffer, proto: _Proto, kind: str, path: Path, shown: str) -> StoredTensor | None:
    """Return what is stored in the model's own file."""
    shape = tuple(proto.dims)
    count = math.prod(shape)
    if kind == "string":
        return None
    number = next(iter(proto.data), _RAW)
    parts = proto.data.get(number, [])
    if len(proto.data) > 1 or (number == _RAW and len(parts) > 1):
        raise NotLoadableError(f"{shown} has its numbers more than once; the file is damaged, export the model again")
    if number == _RAW:
        there = sum(part.end - part.start for part in parts)
        expected = (count * BITS[kind] + 7) // 8 if kind in BITS else count * ITEMSIZE[kind]
        if there != expected:
            raise NotLoadableError(
                f"{shown} declares {expected:,} bytes and has {there:,}; the file is damaged, export the model again"
            )
        return _mapped(kind, shape, path, parts[0].start if parts else 0)
    if number != _WIDE.get(kind, _NARROW):
        raise NotLoadableError(f"{shown} has numbers of another type than it declares; export the model again")
    floating = number in (4, 10)
    if floating and len(parts) == 1:  # packed: the numbers as they are
        there, expected = parts[0].end - parts[0].start, count * ITEMSIZE[kind]
        same_number(there, expected, shown)
        return _mapped(kind, shape, path, parts[0].start)
    if floating:
        content = b"".join(bytes(held[part.start : part.end]) for part in parts)
        same_number(len(content), count * ITEMSIZE[kind], shown)
        return HeldTensor(dtype=kind, shape=shape, content=content)
    return unpacked(held, parts, kind, shape, shown)


def _mapped(kind: str, shape: tuple[int, ...], path: Path, offset: int) -> StoredTensor | None:
    return None if kind in BITS else MappedTensor(dtype=kind, shape=shape, file=path, offset=offset)


def _external(
    proto: _Proto, kind: str, shape: tuple[int, ...], path: Path, shown: str
) -> tuple[StoredTensor | None, Path]:
    """Return what is stored in a file beside the model's."""
    name = proto.external.get("location", "")
    file = inside(path.parent, name)
    if file is None:
        raise NotLoadableError(
            f"{shown} lies in {printable(name, 80) or 'a file without a name'}, which is no plain name in the "
            "directory of the model; nothing was read; move that file beside the model and export it again"
        )
    regular_file(file)
    if kind == "string" or kind in BITS:
        raise NotLoadableError(f"{shown} has the type {kind}, which cannot be read out of another file")
    size = math.prod(shape) * ITEMSIZE[kind]
    offset = _whole(proto.external.get("offset", "0"), shown)
    length = _whole(proto.external.get("length", str(size)), shown)
    there = file.stat().st_size
    if length != size or offset + size > there:
        raise NotLoadableError(
            f"{shown} should have {size:,} bytes at {offset:,} in {printable(name, 80)}, which has {there:,}; "
            "that file belongs to another export or is cut short, copy or download both again"
        )
    return MappedTensor(dtype=kind, shape=shape, file=file, offset=offset), file


def _whole(written: str, shown: str) -> int:
    if not (written.isascii() and written.isdigit() and len(written) < 19):
        raise NotLoadableError(f"{shown} has no valid place in its file; the model is damaged, export it again")
    return int(written)
