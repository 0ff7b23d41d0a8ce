"""ONNX files written field by field, so that hostile ones can be written too; no package is needed."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

FLOAT, INT64, FLOAT16, BFLOAT16, INT32, UINT8 = 1, 7, 10, 16, 6, 2
NUMBERS = {"float32": FLOAT, "int64": INT64, "float16": FLOAT16, "int32": INT32, "uint8": UINT8, "float64": 11}


def number(value: int) -> bytes:
    value &= (1 << 64) - 1
    found = b""
    while value > 127:
        found += bytes((value & 127 | 128,))
        value >>= 7
    return found + bytes((value,))


def varint(field: int, value: int) -> bytes:
    return number(field << 3) + number(value)


def part(field: int, content: bytes | str) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return number(field << 3 | 2) + number(len(content)) + content


def entry(field: int, key: str, value: str) -> bytes:
    return part(field, part(1, key) + part(2, value))


def raw(name: str, array: NDArray[np.generic]) -> bytes:
    """A TensorProto with its numbers as bytes."""
    dims = b"".join(varint(1, size) for size in array.shape)
    return dims + varint(2, NUMBERS[str(array.dtype)]) + part(8, name) + part(9, array.tobytes())


def tensor(name: str, shape: Sequence[int], kind: int, *data: bytes) -> bytes:
    return b"".join(varint(1, size) for size in shape) + varint(2, kind) + part(8, name) + b"".join(data)


def outside(name: str, shape: Sequence[int], kind: int, **place: str) -> bytes:
    """A TensorProto whose numbers are in another file."""
    entries = b"".join(entry(13, key, value) for key, value in place.items())
    return tensor(name, shape, kind, entries, varint(14, 1))


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], name: str = "", *attributes: bytes) -> bytes:
    names = b"".join(part(1, one) for one in inputs) + b"".join(part(2, one) for one in outputs)
    return names + part(3, name) + part(4, kind) + b"".join(part(5, one) for one in attributes)


def whole(name: str, value: int) -> bytes:
    """An AttributeProto of a whole number."""
    return part(1, name) + varint(3, value) + varint(20, 2)


def port(name: str, kind: int, shape: Sequence[int | str | None]) -> bytes:
    sizes = b""
    for size in shape:
        sizes += part(1, b"" if size is None else varint(1, size) if isinstance(size, int) else part(2, size))
    return part(1, name) + part(2, part(1, varint(1, kind) + part(2, sizes)))


def graph(
    nodes: Sequence[bytes],
    weights: Sequence[bytes] = (),
    inputs: Sequence[bytes] = (),
    outputs: Sequence[bytes] = (),
) -> bytes:
    found = b"".join(part(1, one) for one in nodes) + part(2, "main")
    found += b"".join(part(5, one) for one in weights)
    return found + b"".join(part(11, one) for one in inputs) + b"".join(part(12, one) for one in outputs)


def model(content: bytes, *, opset: int = 17, more: bytes = b"") -> bytes:
    version = part(1, "") + varint(2, opset)
    return varint(1, 8) + part(2, "tests") + part(3, "1.0") + part(7, content) + part(8, version) + more


def linear_weights() -> Mapping[str, NDArray[np.float32]]:
    torch.manual_seed(0)
    first, last = torch.nn.Linear(6, 8), torch.nn.Linear(8, 4)
    named = {"first.weight": first.weight, "first.bias": first.bias, "last.weight": last.weight, "last.bias": last.bias}
    return {name: value.detach().numpy() for name, value in named.items()}


def network(
    weights: Sequence[bytes] | None = None,
    *,
    batch: int | str | None = "n",
    output: str = "embedding",
    softmax: bool = False,
) -> bytes:
    """Linear 6 → 8, ReLU, Linear 8 → 4, and a softmax if asked for."""
    weights = [raw(name, array) for name, array in linear_weights().items()] if weights is None else weights
    nodes = [
        node("Gemm", ["x", "first.weight", "first.bias"], ["hidden"], "first", whole("transB", 1)),
        node("Relu", ["hidden"], ["fired"], "act.relu"),
        node(
            "Gemm", ["fired", "last.weight", "last.bias"], ["rows" if softmax else output], "last", whole("transB", 1)
        ),
    ]
    nodes += [node("Softmax", ["rows"], [output], "probabilities")] if softmax else []
    return model(graph(nodes, weights, [port("x", FLOAT, [batch, 6])], [port(output, FLOAT, [batch, 4])]))


def expected(x: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the network computes, by the name of the value."""
    held = {name: torch.from_numpy(array) for name, array in linear_weights().items()}
    hidden = x @ held["first.weight"].T + held["first.bias"]
    fired = hidden.relu()
    return {"hidden": hidden, "fired": fired, "embedding": fired @ held["last.weight"].T + held["last.bias"]}


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def packed_floats(values: Sequence[float]) -> bytes:
    return part(4, struct.pack(f"<{len(values)}f", *values))
