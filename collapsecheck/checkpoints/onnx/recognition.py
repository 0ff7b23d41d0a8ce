"""Whether a file is one of ONNX, which has no mark at its begin: the fields tell."""

from __future__ import annotations

import mmap
from pathlib import Path

from collapsecheck.checkpoints.protobuf import Buffer, DamagedError, Field, Wire, fields, text, varint
from collapsecheck.errors import NotLoadableError

_NEWEST = 1000  # the version of the format is a small number: 13 in 2026
_LEAST = 1 << 14  # bytes of the graph that are looked at
_TEXTS = frozenset((2, 3, 4, 6))
# Fields of the outermost message, by how they are stored; others are not of ONNX.
MODEL = dict.fromkeys((1, 5), Wire.VARINT) | dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), Wire.LENGTH)
GRAPH = frozenset((1, 2, 5, 10, 11, 12, 13, 14, 15, 16))


def is_onnx(head: bytes, path: Path) -> bool:
    """Whether a file is a model of ONNX: it begins with the version, and has a graph of nodes, or the begin of one."""
    if head[:1] != b"\x08":
        return False
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
            return _looks_right(held)
    except (NotLoadableError, ValueError):
        return False


def _looks_right(held: Buffer) -> bool:
    """Look at the fields before the graph, and at the first ones in it."""
    reached = False
    at, end = 0, len(held)
    graph: Field | None = None
    try:
        for one in fields(held, at, end):
            if MODEL.get(one.number) != one.wire or (one.number == 1 and not 0 < one.value < _NEWEST):
                return False
            if one.number in _TEXTS:
                text(held, one)
            if one.number == 7:
                graph = one
                break
            reached = True
    except DamagedError:  # cut short: the graph is the first part of any size
        return reached and _cut_within_graph(held)
    return graph is not None and _begins_with_nodes(held, graph.start, graph.end)


def _cut_within_graph(held: Buffer) -> bool:
    """Whether the field that reaches beyond the end of the file is a graph."""
    at, end = 0, len(held)
    while True:
        try:
            last = at
            at = next(fields(held, at, end)).end
        except DamagedError:
            break
        except StopIteration:
            return False
    try:
        tag, after = varint(held, last, end)
        _, start = varint(held, after, end)
    except DamagedError:
        return False
    return tag == 7 << 3 | Wire.LENGTH and _begins_with_nodes(held, start, end)


def _begins_with_nodes(held: Buffer, start: int, end: int) -> bool:
    """Whether the fields in front are those of a graph, and the first node names its operator."""
    try:
        for one in fields(held, start, end):
            if one.number not in GRAPH or one.wire != Wire.LENGTH:
                return False
            if one.number == 1:
                return any(inner.number == 4 and text(held, inner) for inner in fields(held, one.start, one.end))
            if one.start - start > _LEAST:
                return True
    except DamagedError:
        return True  # a cut within the first fields; what there was of them fits
    return False
