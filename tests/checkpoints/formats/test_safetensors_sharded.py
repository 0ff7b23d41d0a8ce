from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from collapsecheck.checkpoints import Checkpoint, read_checkpoint
from collapsecheck.errors import NotLoadableError
from tests.checkpoints import corpus

INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    corpus.sharded(tmp_path / "model")
    return tmp_path / "model"


def refusal(path: Path) -> str:
    with pytest.raises(NotLoadableError) as caught:
        read_checkpoint(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


def change(folder: Path, edit: Callable[[dict[str, str]], None]) -> None:
    index = json.loads((folder / INDEX).read_text())
    edit(index["weight_map"])
    (folder / INDEX).write_text(json.dumps(index))


def same(found: Checkpoint, expected: dict[str, torch.Tensor]) -> None:
    assert sorted(found.content) == sorted(expected)
    for name, value in expected.items():
        assert torch.equal(found.content[name].tensor(), value)


def test_the_shards_are_joined(folder: Path) -> None:
    found = read_checkpoint(folder)
    assert found.format == "safetensors-sharded"
    assert found.metadata == {"total_size": 1}
    assert len(found.files) == 3
    same(found, corpus.weights())


def test_the_index_itself_can_be_given(folder: Path) -> None:
    same(read_checkpoint(folder / INDEX), corpus.weights())


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "/etc/passwd", "a/b", "a\\b", "..", "", "C:x", "x\0y", "x" * 999]
)
def test_a_shard_outside_the_directory_is_refused(folder: Path, name: str) -> None:
    save_file(corpus.weights(), folder.parent / "model.safetensors")
    change(folder, lambda places: places.update({"head.bias": name}))
    assert "lies outside the directory" in refusal(folder)


def test_a_link_that_leads_out_is_refused(folder: Path) -> None:
    save_file(corpus.weights(), folder.parent / "secret.safetensors")
    (folder / "link.safetensors").symlink_to(folder.parent / "secret.safetensors")
    change(folder, lambda places: places.update({"head.bias": "link.safetensors"}))
    assert "lies outside the directory" in refusal(folder)


def test_links_in_a_circle_are_refused(folder: Path) -> None:
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")
    change(folder, lambda places: places.update({"head.bias": "a"}))
    refusal(folder)


def test_links_of_the_cache_of_the_hub_are_followed(tmp_path: Path) -> None:
    """It keeps files as blobs/DIGEST and links to them from snapshots/REVISION."""
    snapshot = tmp_path / "models--org--name" / "snapshots" / "abc"
    blobs = tmp_path / "models--org--name" / "blobs"
    snapshot.parent.mkdir(parents=True)
    blobs.mkdir()
    corpus.sharded(snapshot)
    for number, file in enumerate(sorted(snapshot.glob("*"))):
        file.rename(blobs / str(number))
        file.symlink_to(Path("../../blobs") / str(number))
    same(read_checkpoint(snapshot), corpus.weights())


def test_missing_shards_are_named(folder: Path) -> None:
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert "1 of 2 shards are missing: model-00002-of-00002.safetensors" in refusal(folder)


def test_a_tensor_that_its_shard_does_not_hold(folder: Path) -> None:
    change(folder, lambda places: places.update({"new\x1b": "model-00001-of-00002.safetensors"}))
    assert "places new\\x1b in model-00001-of-00002.safetensors" in refusal(folder)


def test_tensors_that_the_index_does_not_list_are_left_out_and_said(folder: Path) -> None:
    change(folder, lambda places: places.pop("head.bias"))
    found = read_checkpoint(folder)
    assert "head.bias" not in found.content
    assert [(note.id, note.names) for note in found.notes] == [("unlisted-tensors", ("head.bias",))]


def test_a_pipe_as_a_shard_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    change(folder, lambda places: places.update({"head.bias": "pipe"}))
    assert "not a regular file" in refusal(folder)


def test_a_damaged_shard_is_named(folder: Path) -> None:
    file = folder / "model-00002-of-00002.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert "the shard model-00002-of-00002.safetensors: truncated" in refusal(folder)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"weight_map": []}',
        '{"weight_map": {}}',
        '{"weight_map": {"a": 3}}',
        '{"weight_map": {"a": null}}',
        '{"weight_map": {"a": ["b"]}}',
        '{"weight_map": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"metadata": ' + "[" * 500 + "]" * 500 + ', "weight_map": {}}',
        '{"metadata": ' + "9" * 5000 + ', "weight_map": {}}',
        '{"weight_map": {"a": "\\ud800"}}',
    ],
)
def test_a_damaged_index_is_refused(folder: Path, content: str) -> None:
    (folder / INDEX).write_text(content)
    refusal(folder)


def test_an_index_as_large_as_no_honest_one(folder: Path) -> None:
    with (folder / INDEX).open("wb") as file:
        file.write(b'{"weight_map": {')
        file.truncate(200 << 20)
    assert "more than 32 MiB" in refusal(folder)


def test_lists_that_take_more_memory_than_text(folder: Path) -> None:
    (folder / INDEX).write_text('{"weight_map": {}, "a": [' + "[]," * 3_000_000 + "[]]}")
    assert "more lists and objects" in refusal(folder)


def test_two_indices_are_a_question(folder: Path) -> None:
    (folder / f"other.{INDEX.removeprefix('model.')}").write_text((folder / INDEX).read_text())
    assert "holds 2 models" in refusal(folder)
    same(read_checkpoint(folder / INDEX), corpus.weights())
