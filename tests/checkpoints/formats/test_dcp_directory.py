from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as distributed
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from collapsecheck.checkpoints import read_checkpoint
from collapsecheck.errors import NotLoadableError
from collapsecheck.models.state_dicts import find_state_dicts
from tests.checkpoints import corpus
from tests.checkpoints.conftest import Touch

Part = tuple[tuple[int, ...], torch.Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    corpus.dcp(tmp_path / "model")
    return tmp_path / "model"


def refusal(path: Path) -> str:
    with pytest.raises(NotLoadableError) as caught:
        read_checkpoint(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


def in_parts(path: Path, parts: list[Part], shape: tuple[int, ...], **change: Any) -> Path:
    """A checkpoint as several ranks write it: each part in a file of its own."""
    path.mkdir()
    chunks, places = [], {}
    for rank, (offsets, part) in enumerate(parts):
        buffer = io.BytesIO()
        torch.save(part, buffer)
        (path / f"__{rank}_0.distcp").write_bytes(bytes(100) + buffer.getvalue())
        chunks.append(ChunkStorageMetadata(torch.Size(offsets), torch.Size(part.shape)))
        place: dict[str, Any] = {
            "relative_path": f"__{rank}_0.distcp",
            "offset": 100,
            "length": len(buffer.getvalue()),
        } | change
        places[MetadataIndex("weight", torch.Size(offsets))] = _StorageInfo(**place)
    properties = TensorProperties(dtype=parts[0][1].dtype) if parts else TensorProperties()
    entry = TensorStorageMetadata(properties, torch.Size(shape), chunks)
    write_metadata(path, Metadata({"weight": entry}, {"weight": ("weight",)}, places))
    return path


def write_metadata(path: Path, metadata: object) -> None:
    (path / ".metadata").write_bytes(pickle.dumps(metadata))


def rows(whole: torch.Tensor, ranks: int) -> list[Part]:
    size = -(-len(whole) // ranks)
    return [((at, *[0] * (whole.dim() - 1)), whole[at : at + size].clone()) for at in range(0, len(whole), size)]


def test_what_was_saved_is_what_is_read(folder: Path) -> None:
    found = read_checkpoint(folder)
    assert found.format == "dcp-directory"
    expected = corpus.net().state_dict()
    model = found.content["model"]
    assert sorted(model) == sorted(expected)
    values = {name: torch.zeros_like(value) for name, value in expected.items()}
    corpus.quietly(lambda: distributed.load({"model": values}, checkpoint_id=str(folder)))
    assert all(torch.equal(model[name].tensor(), value) for name, value in values.items())
    assert found.content["epoch"] == 3
    assert {file.name for file in found.files} == {".metadata", "__0_0.distcp"}


def test_the_state_of_the_optimizer_is_nested_as_it_was(folder: Path) -> None:
    optimizer = read_checkpoint(folder).content["optimizer"]
    assert optimizer["param_groups"][0]["betas"] == (0.9, 0.999)
    assert set(optimizer["state"]["0"]) == {"step", "exp_avg", "exp_avg_sq"}  # the library makes texts of keys


def test_the_weights_are_found(folder: Path) -> None:
    found = find_state_dicts(read_checkpoint(folder).content)
    assert found.usable[0].key == "model"
    assert set(found.usable[0].tensors) == set(corpus.net().state_dict())


def test_a_state_dict_alone(tmp_path: Path) -> None:
    corpus.quietly(lambda: distributed.save(dict(corpus.weights()), checkpoint_id=str(tmp_path / "model")))
    found = read_checkpoint(tmp_path / "model")
    assert sorted(found.content) == sorted(corpus.weights())


@pytest.mark.parametrize(("shape", "ranks"), [((10, 3), 4), ((7,), 7), ((4, 2, 2), 1), ((8, 2), 3)])
def test_parts_are_joined_as_torch_joins_them(tmp_path: Path, shape: tuple[int, ...], ranks: int) -> None:
    whole = torch.arange(float(torch.Size(shape).numel()), dtype=torch.bfloat16).view(shape)
    path = in_parts(tmp_path / "model", rows(whole, ranks), shape)
    held = read_checkpoint(path).content["weight"]
    assert (held.shape, held.dtype) == (shape, "bfloat16")
    other = {"weight": torch.zeros_like(whole)}
    corpus.quietly(lambda: distributed.load(other, checkpoint_id=str(path)))
    assert torch.equal(held.tensor(), other["weight"])
    assert torch.equal(held.tensor(), whole)


def test_parts_along_two_axes(tmp_path: Path) -> None:
    whole = torch.randn(5, 4)
    parts: list[Part] = [
        ((0, 0), whole[:3, :2].clone()),
        ((0, 2), whole[:3, 2:].clone()),
        ((3, 0), whole[3:, :1].clone()),
        ((3, 1), whole[3:, 1:].clone()),
    ]
    assert torch.equal(read_checkpoint(in_parts(tmp_path / "m", parts, (5, 4))).content["weight"].tensor(), whole)


def test_numbers_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    """To list what there is, no part is opened."""
    path = in_parts(tmp_path / "model", rows(torch.ones(4, 2), 2), (4, 2))
    held = read_checkpoint(path).content["weight"]
    part = path / "__1_0.distcp"
    part.write_bytes(bytes(part.stat().st_size))
    with pytest.raises(NotLoadableError):
        held.tensor()


def test_a_hostile_metadata_runs_nothing(folder: Path, marker: Path) -> None:
    write_metadata(folder, Touch(marker))
    assert "dangerous-global" in refusal(folder)
    assert not marker.exists()


@pytest.mark.parametrize("path", ["torch.utils.collect_env.run2", "my.code", "torch.nn.modules.linear.Linear", "a.b"])
def test_only_the_classes_of_the_library_are_admitted(folder: Path, path: str) -> None:
    module, _, name = path.rpartition(".")
    (folder / ".metadata").write_bytes(f"c{module}\n{name}\n(tR.".encode())
    assert f"names {path}" in refusal(folder)


def test_a_hostile_entry_beside_the_tensors_runs_nothing(folder: Path, marker: Path) -> None:
    buffer = io.BytesIO()
    torch.save(Touch(marker), buffer)
    (folder / "x.distcp").write_bytes(buffer.getvalue())
    places = {MetadataIndex("a"): _StorageInfo("x.distcp", 0, len(buffer.getvalue()))}
    tensor = in_parts(folder / "other", rows(torch.ones(2), 1), (2,))
    (tensor / "__0_0.distcp").rename(folder / "y.distcp")
    entry = TensorStorageMetadata(
        TensorProperties(), torch.Size([2]), [ChunkStorageMetadata(torch.Size([0]), torch.Size([2]))]
    )
    length = (folder / "y.distcp").stat().st_size - 100
    places[MetadataIndex("w", torch.Size([0]))] = _StorageInfo("y.distcp", 100, length)
    write_metadata(folder, Metadata({"w": entry, "a": BytesStorageMetadata()}, None, places))
    assert "the entry a: " in refusal(folder)
    assert not marker.exists()


def test_a_hostile_part_runs_nothing(tmp_path: Path, marker: Path) -> None:
    path = in_parts(tmp_path / "model", rows(torch.ones(2), 1), (2,))
    buffer = io.BytesIO()
    torch.save(Touch(marker), buffer)
    part = path / "__0_0.distcp"
    length = part.stat().st_size - 100
    content = buffer.getvalue()
    part.write_bytes(bytes(100) + content + bytes(max(0, length - len(content))))
    held = read_checkpoint(path).content["weight"]
    with pytest.raises(NotLoadableError):
        held.tensor()
    assert not marker.exists()


@pytest.mark.parametrize("name", ["../x.distcp", "/etc/passwd", "a/b", "", "..", "x\0"])
def test_a_part_outside_the_directory_is_refused(tmp_path: Path, name: str) -> None:
    path = in_parts(tmp_path / "model", rows(torch.ones(2), 1), (2,), relative_path=name)
    assert "lies outside the directory" in refusal(path)


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    path = in_parts(tmp_path / "model", rows(torch.ones(2), 1), (2,))
    (path / "__0_0.distcp").rename(tmp_path / "secret")
    (path / "__0_0.distcp").symlink_to(tmp_path / "secret")
    assert "lies outside the directory" in refusal(path)


@pytest.mark.parametrize(
    "change", [{"offset": 1 << 40}, {"length": 1 << 40}, {"offset": -1}, {"length": -1}, {"offset": "0"}]
)
def test_places_outside_the_file_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    refusal(in_parts(tmp_path / "model", rows(torch.ones(2), 1), (2,), **change))


def test_compressed_parts_are_refused(tmp_path: Path) -> None:
    path = in_parts(tmp_path / "model", rows(torch.ones(2), 1), (2,), transform_descriptors=["zstd"])
    assert "compressed or encrypted" in refusal(path)


def test_a_missing_part_is_said(tmp_path: Path) -> None:
    whole = torch.ones(4, 2)
    assert "a part is missing" in refusal(in_parts(tmp_path / "model", rows(whole, 2)[:1], (4, 2)))
    path = in_parts(tmp_path / "other", rows(whole, 2), (4, 2))
    (path / "__1_0.distcp").unlink()
    assert "__1_0.distcp is missing" in refusal(path)


def test_parts_that_overlap_are_refused(tmp_path: Path) -> None:
    """As many numbers as the tensor has, but some twice and others never: memory that nobody wrote would show."""
    part = torch.ones(2, 2)
    path = in_parts(tmp_path / "model", [((0, 0), part), ((1, 0), part)], (4, 2))
    held = read_checkpoint(path).content["weight"]
    with pytest.raises(NotLoadableError, match="overlap"):
        held.tensor()


def test_a_part_of_another_type_is_refused(tmp_path: Path) -> None:
    path = in_parts(tmp_path / "model", [((0,), torch.ones(2)), ((2,), torch.ones(2).double())], (4,))
    with pytest.raises(NotLoadableError, match="not of the type and size"):
        read_checkpoint(path).content["weight"].tensor()


@pytest.mark.parametrize("shape", [(1 << 40,), (1 << 31, 1 << 31), (1 << 62, 1 << 62), (3,), (2, 1), ()])
def test_a_declared_shape_that_is_not_there(tmp_path: Path, shape: tuple[int, ...]) -> None:
    refusal(in_parts(tmp_path / "model", rows(torch.ones(2), 1), shape))


def test_one_part_that_is_declared_for_many_tensors(tmp_path: Path) -> None:
    """Each fits its part, together they are more than the files have."""
    path = in_parts(tmp_path / "model", rows(torch.ones(1000), 1), (1000,))
    entry = TensorStorageMetadata(
        TensorProperties(), torch.Size([1000]), [ChunkStorageMetadata(torch.Size([0]), torch.Size([1000]))]
    )
    place = _StorageInfo("__0_0.distcp", 100, (path / "__0_0.distcp").stat().st_size - 100)
    names = [f"w{index}" for index in range(100)]
    places = {MetadataIndex(name, torch.Size([0])): place for name in names}
    write_metadata(path, Metadata(dict.fromkeys(names, entry), None, places))
    assert "declare 400,000 bytes" in refusal(path)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        Metadata({}, None, None),
        Metadata({}, None, {}),
        Metadata({"a": 3}, None, {}),  # type: ignore[dict-item]
        Metadata({3: BytesStorageMetadata()}, None, {}),  # type: ignore[dict-item]
        Metadata({"a": TensorStorageMetadata(None, None, None)}, None, {}),  # type: ignore[arg-type]
        Metadata({}, None, {"a": _StorageInfo("x", 0, 1)}),
        Metadata({}, None, {MetadataIndex("a"): 3}),
    ],
    ids=str,
)
def test_a_damaged_metadata_is_refused(folder: Path, metadata: object) -> None:
    write_metadata(folder, metadata)
    refusal(folder)


def test_keys_that_contradict_one_another(folder: Path) -> None:
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    metadata.planner_data["model.head.bias"] = ("model",)
    write_metadata(folder, metadata)
    assert "two entries" in refusal(folder)
    metadata.planner_data["model.head.bias"] = tuple("x" * 1000)
    write_metadata(folder, metadata)
    assert "nested more than" in refusal(folder)


@pytest.mark.parametrize("path", [(1 << 60, "a"), (-1, "a"), ("optimizer", "state", "x")])
def test_unusual_keys_are_kept(folder: Path, path: tuple[Any, ...]) -> None:
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    metadata.planner_data["model.head.bias"] = path
    write_metadata(folder, metadata)
    held = read_checkpoint(folder).content
    for key in path:
        held = held[key]
    assert held.shape == (5,)


@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp"])
def test_a_pipe_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert "not a regular file" in refusal(folder)


def test_without_its_metadata(folder: Path) -> None:
    (folder / ".metadata").unlink()
    assert "without its .metadata" in refusal(folder)
