"""What goes over the pipes: a frame is a header in JSON and the bytes of the tensors that it declares.

A frame begins with the length of its header, 4 bytes, little-endian. The header is `{"kind": …, "value": …,
"tensors": [[dtype, shape], …]}`; in `value`, tensors are `{"tensor": number}`. Their bytes follow, row after row.
Everything is checked before it is believed, as the other side may be hostile: a frame can carry numbers and texts,
never objects.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch

from collapsecheck.checkpoints.stored import ITEMSIZE

Read = Callable[[int], bytearray]

LARGEST_HEADER = 16 << 20
LARGEST_TENSORS = 8 << 30  # bytes of all tensors of one frame
_MOST_TENSORS = 4096
_MOST_DIMENSIONS = 32
_DEEPEST = 16
_LONGEST_KIND = 32
# Texts in a header may be long, such as the names of all layers; those in outputs are cut.
_LONGEST_TEXT = 1000


class BrokenFrameError(Exception):
    """What came is no frame; the message says in what."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message."""

    kind: str
    value: Any


def encoded(kind: str, value: Any) -> list[memoryview]:
    """Return a frame as parts to write one after the other; tensors are copied only where they are not on the CPU.

    Mappings, dataclasses, tuples and lists keep their structure; other objects become None.
    """
    tensors: list[torch.Tensor] = []
    tree = _packed(value, tensors, 0)
    declared = [[_name(one.dtype), list(one.shape)] for one in tensors]
    header = json.dumps({"kind": kind, "value": tree, "tensors": declared}).encode()
    parts = [memoryview(struct.pack("<I", len(header)) + header)]
    bytes_of: list[Any] = [one.view(-1).view(torch.uint8).numpy() for one in tensors if one.numel()]
    parts += [memoryview(one).cast("B") for one in bytes_of]
    return parts


def read_frame(read: Read, *, largest: int = LARGEST_TENSORS) -> Frame:
    """Read one frame.

    Parameters
    ----------
    read
        Returns as many bytes as it is asked for.
    largest
        Bytes that all tensors together may have.

    Raises
    ------
    BrokenFrameError
        If it is none, or larger than it may be.
    """
    (length,) = struct.unpack("<I", read(4))
    if not 2 <= length <= LARGEST_HEADER:
        raise BrokenFrameError(f"a header of {length:,} bytes")
    try:
        header = json.loads(bytes(read(length)))
    except (ValueError, RecursionError) as error:
        raise BrokenFrameError("a header that is no JSON") from error
    if not isinstance(header, dict):
        raise BrokenFrameError("a header that is no object")
    kind, declared = header.get("kind"), header.get("tensors")
    if not isinstance(kind, str) or len(kind) > _LONGEST_KIND or not isinstance(declared, list):
        raise BrokenFrameError("a header without kind and tensors")
    if len(declared) > _MOST_TENSORS:
        raise BrokenFrameError(f"{len(declared):,} tensors")
    shapes = [_shape(one) for one in declared]
    total = sum(math.prod(shape) * ITEMSIZE[name] for name, shape in shapes)
    if total > largest:
        raise BrokenFrameError(f"{total:,} bytes of tensors, at most {largest:,} are accepted")
    tensors = [_tensor(read, name, shape) for name, shape in shapes]
    return Frame(kind, _unpacked(header.get("value"), tensors, 0))


def _packed(value: Any, tensors: list[torch.Tensor], depth: int) -> Any:
    if isinstance(value, torch.Tensor):
        if value.layout != torch.strided or value.is_quantized or _name(value.dtype) not in ITEMSIZE:
            return None
        tensors.append(value.detach().resolve_conj().resolve_neg().cpu().contiguous())
        return {"tensor": len(tensors) - 1}
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value[:_LONGEST_TEXT]
    if depth == _DEEPEST:
        return None
    if is_dataclass(value) and not isinstance(value, type) and not isinstance(value, Mapping):
        value = {field.name: getattr(value, field.name, None) for field in fields(value)}
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        value = dict(zip(value._fields, value, strict=True))
    if isinstance(value, Mapping):
        return {"dict": [[str(key)[:_LONGEST_TEXT], _packed(one, tensors, depth + 1)] for key, one in value.items()]}
    if isinstance(value, list | tuple):
        packed = [_packed(one, tensors, depth + 1) for one in value]
        return {"list" if isinstance(value, list) else "tuple": packed}
    return None


def _unpacked(value: Any, tensors: list[torch.Tensor], depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth > _DEEPEST or not isinstance(value, dict) or len(value) != 1:
        raise BrokenFrameError("a value of unknown structure")
    ((kind, inner),) = value.items()
    if kind == "tensor" and type(inner) is int and 0 <= inner < len(tensors):
        return tensors[inner]
    if kind in ("list", "tuple") and isinstance(inner, list):
        made = [_unpacked(one, tensors, depth + 1) for one in inner]
        return made if kind == "list" else tuple(made)
    if kind == "dict" and isinstance(inner, list):
        if not all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in inner):
            raise BrokenFrameError("a dict of unknown structure")
        return {key: _unpacked(one, tensors, depth + 1) for key, one in inner}
    raise BrokenFrameError("a value of unknown structure")


def _shape(declared: Any) -> tuple[str, tuple[int, ...]]:
    if not isinstance(declared, list) or len(declared) != 2:
        raise BrokenFrameError("a tensor without type and shape")
    name, shape = declared
    if not isinstance(name, str) or name not in ITEMSIZE:
        raise BrokenFrameError("a tensor of an unknown type")
    if not isinstance(shape, list) or len(shape) > _MOST_DIMENSIONS:
        raise BrokenFrameError("a tensor without a shape")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise BrokenFrameError("a tensor of impossible shape")
    if math.prod(max(size, 1) for size in shape) >= 1 << 48:  # the strides of an empty one overflow as well
        raise BrokenFrameError("a tensor of impossible shape")
    return name, tuple(shape)


def _tensor(read: Read, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    dtype: torch.dtype = getattr(torch, name)
    size = math.prod(shape) * ITEMSIZE[name]
    if not size:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(read(size), dtype=dtype).view(shape)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
