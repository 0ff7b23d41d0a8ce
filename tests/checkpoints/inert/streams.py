"""Random pickles: streams of instructions that are nearly right, and real checkpoints with damage."""

from __future__ import annotations

import argparse
import collections
import functools
import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

NAMES = (
    "builtins getattr", "builtins set", "builtins dict", "builtins list",
    "builtins bytearray", "builtins complex", "builtins frozenset", "__builtin__ xrange", "collections OrderedDict",
    "collections Counter", "collections defaultdict", "copyreg _reconstructor", "copyreg __newobj__", "_codecs encode",
    "argparse Namespace", "types SimpleNamespace", "pathlib PosixPath", "torch Size", "torch FloatStorage",
    "torch LongStorage", "torch.storage UntypedStorage", "torch QInt8Storage", "torch float8_e5m2", "torch device",
    "torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3",
    "torch._utils _rebuild_parameter", "torch._tensor _rebuild_from_type_v2", "torch._utils _rebuild_sparse_tensor",
    "numpy dtype", "numpy ndarray", "numpy._core.multiarray scalar", "numpy.core.multiarray _reconstruct",
    "numpy._core.numeric _frombuffer", "own Layer", "torch.nn.modules.linear Linear",
)  # fmt: skip
ATTACKS = ("os system", "posix system", "builtins eval", "torch serialization.os.system")
TEXTS = (
    "", "w", "storage", "module", "0", "1", "../x", "cpu", "latin1", "f8", "f4", "<", ">", "_parameters", "_buffers",
    "_modules", "_metadata", "_non_persistent_buffers_set", "os", "system", "\ud800", "\x1b[2J",
)  # fmt: skip
ODD = (
    b"a", b"s", b"u", b"e", b"b", b"R", b"Q", b"o", b"0", b"1", b"(", b"\x86", b"\x87", b"\x90", b"h\x00", b"g1\n",
    b"d", b"j\x00\x00\x00\x00", b"t", b"\x93", b"Pa\n", b"iown\nLayer\n", b"\x82\x00", b"\x97", b"\x98",
    b"\x95\x01" + bytes(7),
)  # fmt: skip
SMALL = (0, 1, 2, 3, 4, 5, 7, 8, 16, 255)
LARGE = (-1, 1 << 31, (1 << 31) - 1, 1 << 40, 1 << 60, 1 << 63, -(1 << 63), 1 << 70)


def text(value: str) -> bytes:
    """The instruction that pushes a text."""
    content = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(content)) + content


def integer(value: int) -> bytes:
    """The instruction that pushes a number."""
    content = value.to_bytes(10, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def _name(random: Random) -> bytes:
    chosen = random.choice(NAMES) if random.random() < 0.99 else random.choice(ATTACKS)
    module, _, name = chosen.partition(" ")
    if random.random() < 0.3:
        return text(module) + text(name) + b"\x93"
    return f"c{module}\n{name}\n".encode()


def _number(random: Random) -> bytes:
    if random.random() < 0.1:
        return integer(random.choice(LARGE))
    return random.choice((lambda n: b"K" + bytes([n]), lambda n: b"M" + struct.pack("<H", n), integer))(
        random.choice(SMALL)
    )


def _literal(random: Random) -> bytes:
    value = random.choice(SMALL)
    content = random.randbytes(value)
    return random.choice(
        (
            b"N", b"\x88", b"\x89", b"]", b"}", b")", b"\x8f", b"I01\n", b"I%d\n" % value, b"L%dL\n" % value, b"F1.5\n",
            b"G" + struct.pack(">d", 1.5), b"J" + struct.pack("<i", -value), b"S'a\\x00'\n", b"V\\u0041\n",
            b"C" + bytes([len(content)]) + content, b"B" + struct.pack("<I", len(content)) + content,
            b"\x8e" + struct.pack("<Q", len(content)) + content, b"\x96" + struct.pack("<Q", len(content)) + content,
            b"U" + bytes([len(content)]) + content, b"T" + struct.pack("<I", len(content)) + content,
            b"\x8b" + struct.pack("<I", len(content)) + content, b"\x8c\x01a", b"\x8d" + struct.pack("<Q", 1) + b"a",
            text(random.choice(TEXTS)), text(random.choice(TEXTS)), _number(random), _number(random),
        )
    )  # fmt: skip


def _tuple(random: Random, parts: int, make: Callable[[Random], bytes]) -> bytes:
    return b"(" + b"".join(make(random) for _ in range(parts)) + b"t"


def _storage(random: Random) -> bytes:
    kind, itemsize = random.choice(
        (("FloatStorage", 4), ("LongStorage", 8), ("UntypedStorage", 1), ("QInt8Storage", 1))
    )
    numel = integer(16 // itemsize) if random.random() < 0.9 else _number(random)
    key = text("0" if random.random() < 0.95 else random.choice(TEXTS))
    view = b"N" if random.random() < 0.2 else b""
    return b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + key + text("cpu") + numel + view + b"tQ"


def _size(random: Random) -> bytes:
    return b"K" + bytes([random.randrange(3)]) if random.random() < 0.95 else _number(random)


def _tensor(random: Random) -> bytes:
    dimensions = random.randrange(4)
    version = random.choice((b"", b"_v2", b"_v3"))
    held = b"ctorch._utils\n_rebuild_tensor" + version + b"\n(" + _storage(random) + _size(random)
    held += _tuple(random, dimensions, _size) + _tuple(random, dimensions, _size)
    held += b"\x89}" if version else b""
    return held + (b"ctorch\nfloat8_e5m2\n" if version == b"_v3" else b"") + b"tR"


def _module(random: Random, depth: int) -> bytes:
    held = b"}" + (text("w") + _tensor(random) + b"s" if random.random() < 0.7 else b"")
    children = b"}" + (text("a") + _value(random, depth - 1) + b"s" if random.random() < 0.7 else b"")
    state = text("_parameters") + held + text("_buffers") + b"}" + text("_modules") + children
    return b"cown\nLayer\n)\x81}(" + state + b"ub"


def _key(random: Random) -> bytes:
    return text(random.choice(TEXTS)) if random.random() < 0.8 else _literal(random)


def _value(random: Random, depth: int = 4) -> bytes:
    """Instructions that push one value, most of the time."""
    if depth <= 0:
        return _literal(random)
    inner = functools.partial(_value, depth=depth - 1)
    kind = random.randrange(15)
    if kind < 3:
        return _literal(random)
    several = b"".join(inner(random) for _ in range(random.randrange(4)))
    return (
        lambda: b"(" + several + b"t", lambda: inner(random) + b"\x85", lambda: b"](" + several + b"e",
        lambda: b"}" + b"".join(_key(random) + inner(random) + b"s" for _ in range(random.randrange(4))),
        lambda: random.choice((b"\x8f(" + several + b"\x90", b"(" + several + b"\x91", b"(" + several + b"l")),
        lambda: _name(random) + b"(" + several + b"t" + random.choice((b"R", b"\x81")),
        lambda: _name(random) + b"(" + several + b"t" + b"R" + inner(random) + b"b",
        lambda: _name(random) + b"(t}\x92", lambda: _tensor(random), lambda: _module(random, depth),
        lambda: inner(random) + random.choice((b"20", b"q\x00h\x000", b"p0\ng0\n0", b"r\x00\x00\x00\x00")),
        lambda: inner(random) + random.choice((b"\x94", b"h\x000", b"h\x00a", b"j\x00\x00\x00\x000")),
    )[kind - 3]()  # fmt: skip


def stream(random: Random) -> bytes:
    """Values after one another, now and then with an instruction that does not fit."""
    parts = [b"\x80", bytes([random.choice((2, 4, 5))])]
    for _ in range(random.randrange(1, 12)):
        parts.append(_value(random))
        if random.random() < 0.1:
            parts.append(random.choice((*ODD, random.randbytes(1))))
    return b"".join(parts) + b"."


def damaged(random: Random, content: bytes) -> bytes:
    """The same bytes with a few changed, left out, doubled or put elsewhere."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 5, 20))):
        at = random.randrange(len(changed) + 1)
        length = random.choice((1, 1, 2, 4, 30))
        match random.randrange(5):
            case 0:
                changed[at : at + length] = random.randbytes(length)
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = changed[at : at + length]
            case 3:
                changed[at:at] = _value(random, 2)
            case _:
                changed[at : at + 4] = struct.pack("<i", random.choice((-1, 0, 1, 1 << 30)))
    return bytes(changed)


def checkpoints() -> list[bytes]:
    """Pickles of what people save, of all protocols."""
    import numpy as np
    import torch
    from torch import nn

    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    saved: list[Any] = [
        net.state_dict(), net,
        {"model": net.state_dict(), "args": argparse.Namespace(lr=1), "array": np.arange(4.0), "one": np.float32(1)},
        {"view": torch.ones(2, 2).t(), "half": torch.ones(2).half(), "small": torch.ones(2).to(torch.float8_e5m2),
         "counter": collections.Counter("ab"), "set": {1, 2}, "sparse": torch.eye(2).to_sparse()},
    ]  # fmt: skip
    found = []
    for protocol in (2, 4):
        for content in saved:
            buffer = io.BytesIO()
            torch.save(content, buffer, pickle_protocol=protocol)
            with zipfile.ZipFile(buffer) as archive:
                found.append(archive.read("archive/data.pkl"))
    found += [pickle.dumps([1, {"a": (2.5, b"x")}, {3}, argparse.Namespace(a=1)], protocol) for protocol in range(6)]
    return found
