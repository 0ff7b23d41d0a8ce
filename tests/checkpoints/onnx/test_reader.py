"""ONNX files are read without onnx or onnxruntime; whatever they declare is held against the bytes that are there."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collapsecheck.checkpoints import read_checkpoint
from collapsecheck.checkpoints.onnx import read_onnx
from collapsecheck.errors import NotLoadableError
from tests.checkpoints.onnx import files
from tests.checkpoints.onnx.files import (
    FLOAT,
    INT64,
    UINT8,
    graph,
    model,
    node,
    outside,
    part,
    port,
    tensor,
    varint,
    write,
)

PORTS: dict[str, Any] = {"inputs": [port("x", FLOAT, ["n", 6])], "outputs": [port("y", FLOAT, ["n", 4])]}
MATMUL = node("MatMul", ["x", "w"], ["y"])


def holding(*weights: bytes, nodes: Sequence[bytes] = (MATMUL,)) -> bytes:
    return model(graph(nodes, weights, PORTS["inputs"], PORTS["outputs"]))


def refusal(path: Path, content: bytes | None = None) -> str:
    if content is not None:
        write(path, content)
    with pytest.raises(NotLoadableError) as caught:
        read_checkpoint(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


# --- honest


def test_weights_ports_and_nodes(path: Path) -> None:
    found = read_checkpoint(write(path, files.network()))
    assert found.format == "onnx-model"
    assert {name: held.tensor().tolist() for name, held in found.content.items()} == {
        name: array.tolist() for name, array in files.linear_weights().items()
    }
    assert found.metadata["producer"] == "tests 1.0" and found.metadata["opset"] == {"ai.onnx": 17}
    assert found.metadata["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["n", 6]}]
    assert found.metadata["nodes"] == {"count": 3, "types": {"Gemm": 2, "Relu": 1}}
    assert not found.runs_code and not found.notes


@pytest.mark.parametrize("name", ["model.pt", "model", "model.safetensors"])
def test_its_name_does_not_matter(tmp_path: Path, name: str) -> None:
    assert read_checkpoint(write(tmp_path / name, files.network())).format == "onnx-model"


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8", "float16"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 4)])
def test_numbers_as_bytes(path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = (10 * np.random.default_rng(0).random(shape)).astype(dtype)
    held = read_checkpoint(write(path, holding(files.raw("w", np.asarray(array))))).content["w"].tensor()
    assert str(held.dtype) == f"torch.{dtype}" and np.array_equal(held.numpy(), array)


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        (FLOAT, [files.packed_floats([1.5, -2, 3])], torch.tensor([1.5, -2, 3])),
        (FLOAT, [b"\x25" + struct.pack("<f", value) for value in (1.5, -2, 3)], torch.tensor([1.5, -2, 3])),
        (INT64, [varint(7, value) for value in (1, -2, 1 << 40)], torch.tensor([1, -2, 1 << 40])),
        (INT64, [part(7, b"".join(map(files.number, (1, -2, 3))))], torch.tensor([1, -2, 3])),
        (UINT8, [part(5, b"".join(map(files.number, (1, 255, 3))))], torch.tensor([1, 255, 3], dtype=torch.uint8)),
        (files.FLOAT16, [part(5, b"".join(map(files.number, (0x3C00, 0xC000, 0))))], torch.tensor([1.0, -2, 0]).half()),
        (files.BFLOAT16, [part(5, b"".join(map(files.number, (0x3F80, 0xC000))))], torch.tensor([1.0, -2]).bfloat16()),
    ],
    ids=["packed floats", "floats", "varints", "packed varints", "bytes", "half", "bfloat16"],
)  # fmt: skip
def test_numbers_in_fields(path: Path, kind: int, data: list[bytes], expected: torch.Tensor) -> None:
    held = read_checkpoint(write(path, holding(tensor("w", expected.shape, kind, *data)))).content["w"].tensor()
    assert held.dtype == expected.dtype and torch.equal(held, expected)


def test_constants_are_weights_too(path: Path) -> None:
    value = part(1, "value") + part(5, files.raw("", np.ones(2, np.float32))) + varint(20, 4)
    content = holding(nodes=[node("Constant", [], ["w"], "", value), MATMUL])
    assert read_checkpoint(write(path, content)).content["w"].tensor().tolist() == [1, 1]


def test_weights_beside_the_file(path: Path) -> None:
    array = np.arange(24, dtype=np.float32).reshape(6, 4)
    (path.parent / "model.data").write_bytes(bytes(64) + array.tobytes())
    content = holding(outside("w", (6, 4), FLOAT, location="model.data", offset="64", length="96"))
    found = read_checkpoint(write(path, content))
    assert found.content["w"].tensor().tolist() == array.tolist()
    assert {file.name for file in found.files} == {"model.onnx", "model.data"}


def test_layers_as_torch_notes_them(path: Path) -> None:
    noted = files.entry(9, "pkg.torch.onnx.name_scopes", "['', 'encoder', 'encoder.0', 'linear']")
    assert read_onnx(write(path, holding(nodes=[MATMUL + noted]))).nodes[0].layers == ("encoder", "encoder.0")


def test_operators_of_others_are_said(path: Path) -> None:
    found = read_checkpoint(write(path, holding(nodes=[MATMUL + part(7, "com.\x1bevil")])))
    assert [(note.id, note.names) for note in found.notes] == [("custom-operators", ("com.\x1bevil.MatMul",))]


# --- hostile


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "..", ".", "", "x\0y", "a\\b", "link", "gone"])
def test_weights_elsewhere_are_not_read(path: Path, name: str) -> None:
    (path.parent.parent / "secret").write_bytes(bytes(96))
    (path.parent / "link").symlink_to(path.parent.parent / "secret")
    said = refusal(path, holding(outside("w", (6, 4), FLOAT, location=name)))
    assert "no plain name in the directory" in said or "missing" in said or "no such" in said.lower()


def test_a_pipe_beside_the_file_is_not_waited_for(path: Path) -> None:
    os.mkfifo(path.parent / "pipe")
    assert "not a regular file" in refusal(path, holding(outside("w", (6, 4), FLOAT, location="pipe")))


@pytest.mark.parametrize(
    "place",
    [
        {"offset": "1"},
        {"offset": "-1"},
        {"offset": "9" * 30},
        {"offset": "0x0"},
        {"length": "95"},
        {"length": "1000000000000"},
        {"length": ""},
    ],
    ids=str,
)
def test_places_that_are_not_there(path: Path, place: dict[str, str]) -> None:
    (path.parent / "d").write_bytes(bytes(96))
    refusal(path, holding(outside("w", (6, 4), FLOAT, location="d", **place)))


def test_many_weights_of_the_same_bytes(path: Path) -> None:
    """Each is in the file, together they are a thousand times as large."""
    (path.parent / "d").write_bytes(bytes(96))
    weights = [outside(f"w{i}", (5, 4), FLOAT, location="d", offset=str(4 * (i % 4))) for i in range(1000)]
    assert "overlap" in refusal(path, holding(*weights))


@pytest.mark.parametrize(
    "weight",
    [
        tensor("w", (1 << 40,), FLOAT, part(9, bytes(16))),
        tensor("w", (1 << 40, 1 << 40), FLOAT, part(9, bytes(16))),
        tensor("w", (5,), FLOAT, part(9, bytes(16))),
        tensor("w", (3,), FLOAT, part(9, bytes(16))),
        tensor("w", (-4,), FLOAT, part(9, bytes(16))),
        tensor("w", (1 << 63,), FLOAT, part(9, bytes(16))),
        tensor("w", (1,) * 65, FLOAT, part(9, bytes(4))),
        tensor("w", (1,) * 100_000, FLOAT, part(9, bytes(4))),
        tensor("w", (4,), 99, part(9, bytes(16))),
        tensor("w", (4,), 0, part(9, bytes(16))),
        tensor("w", (4,), FLOAT, part(9, bytes(16)), part(9, bytes(16))),
        tensor("w", (4,), FLOAT, part(9, bytes(16)), files.packed_floats([1, 2, 3, 4])),
        tensor("w", (4,), FLOAT, part(7, bytes(4))),
        tensor("w", (4,), FLOAT, files.packed_floats([1, 2, 3])),
        tensor("w", (4,), INT64, part(7, b"\xff" * 40)),
        tensor("w", (4,), INT64, part(7, b"\x80")),
        tensor("w", (4,), FLOAT, part(3, varint(1, 0))),
        tensor("w", (1 << 40,), FLOAT),
        outside("w", (4,), FLOAT, location="d") + files.entry(13, "location", "e"),
    ],
    ids=range(19),
)
def test_tensors_that_are_not_there(path: Path, weight: bytes) -> None:
    refusal(path, holding(weight))


def test_a_graph_within_graphs(path: Path) -> None:
    inner = graph([MATMUL])
    for _ in range(40):
        inner = graph([node("If", ["x"], ["y"], "", part(1, "then_branch") + part(6, inner))])
    assert "nested more than 16 deep" in refusal(path, model(inner))


def test_a_tensor_within_a_branch_may_not_lie_elsewhere(path: Path) -> None:
    branch = part(1, "then_branch") + part(6, graph([MATMUL], [outside("w", (6, 4), FLOAT, location="../secret")]))
    assert "lies in another file where it may not" in refusal(
        path, holding(nodes=[node("If", ["x"], ["y"], "", branch)])
    )


@pytest.mark.parametrize(
    "content",
    [
        files.network() + files.network(),  # a reader merges them
        model(graph([MATMUL])) + part(7, graph([MATMUL])),
        files.network()[:-1],
        files.network()[: len(files.network()) // 2],
        model(graph([MATMUL]), more=part(20, b"")),
        model(graph([MATMUL]) + part(15, b"")),
        holding(files.raw("w", np.ones(2, np.float32)), files.raw("w", np.zeros(2, np.float32))),
        model(graph([node("MatMul", ["x"], ["y"]) + part(3, b"\xff\xfe")])),
    ],
    ids=["twice", "two graphs", "cut", "cut in half", "training", "sparse", "one name", "no utf-8"],
)
def test_files_that_two_readers_could_read_in_two_ways(path: Path, content: bytes) -> None:
    refusal(path, content)


def test_names_cannot_forge_output(path: Path) -> None:
    said = refusal(path, holding(tensor("\x1b[2J\n", (4,), FLOAT, part(9, bytes(3)))))
    assert "\\x1b[2J\\n" in said


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_is_refused_or_does_not_matter(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(files.network())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    path = write(tmp_path_factory.mktemp("onnx") / "m.onnx", bytes(content))
    try:
        for held in read_checkpoint(path).content.values():
            assert held.tensor().numel() * held.tensor().element_size() <= len(content)
    except NotLoadableError as error:
        assert str(error).isprintable()
