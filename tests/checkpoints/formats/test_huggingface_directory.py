from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from collapsecheck.checkpoints import read_checkpoint
from collapsecheck.errors import NotLoadableError
from tests.checkpoints import corpus
from tests.checkpoints.conftest import Touch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    corpus.huggingface(tmp_path / "model")
    return tmp_path / "model"


def refusal(path: Path) -> str:
    with pytest.raises(NotLoadableError) as caught:
        read_checkpoint(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("make", corpus.HONEST["huggingface-directory"])
def test_weights_and_configuration(tmp_path: Path, make: corpus.Make) -> None:
    make(tmp_path / "model")
    found = read_checkpoint(tmp_path / "model")
    assert found.format == "huggingface-directory"
    assert found.metadata["config"]["model_type"] == "net"
    expected = corpus.weights()
    assert sorted(found.content) == sorted(expected)
    assert all(torch.equal(found.content[name].tensor(), value) for name, value in expected.items())
    assert {file.name for file in found.files} >= {"config.json", found.metadata["weights_file"]}


def test_a_pickle_is_not_opened_where_there_is_something_better(folder: Path, marker: Path) -> None:
    torch.save({"a": Touch(marker)}, folder / "pytorch_model.bin")
    assert read_checkpoint(folder).metadata["weights_file"] == "model.safetensors"
    assert not marker.exists()


def test_a_hostile_pickle_runs_nothing(folder: Path, marker: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"a": Touch(marker), "w": torch.ones(2)}, folder / "pytorch_model.bin")
    assert "pytorch_model.bin in it: " in refusal(folder)
    assert not marker.exists()


def test_how_pictures_are_prepared_is_kept(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5, 0.5, 0.5]}))
    assert read_checkpoint(folder).metadata["preprocessor_config"]["image_mean"] == [0.5] * 3


def test_another_name_of_the_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")
    assert read_checkpoint(folder).metadata["weights_file"] == "consolidated.safetensors"


def test_several_files_of_weights_are_a_question(folder: Path) -> None:
    for name in ("a.safetensors", "b.safetensors"):
        corpus.safetensors(folder / name)
    assert read_checkpoint(folder).metadata["weights_file"] == "model.safetensors"
    (folder / "model.safetensors").unlink()
    assert "holds 2 files of weights (a.safetensors, b.safetensors)" in refusal(folder)


def test_parts_without_their_index(tmp_path: Path) -> None:
    corpus.huggingface_sharded(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors.index.json").unlink()
    assert "without the index" in refusal(tmp_path / "model")


def test_a_pointer_in_place_of_the_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    assert "git lfs pull" in refusal(folder)


def test_an_empty_file_of_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")
    assert "model.safetensors in it: the file is empty" in refusal(folder)


@pytest.mark.parametrize("content", ["", "[1]", "{", "null", "[" * 100_000, '{"a":' * 70 + "1" + "}" * 70, "\xff"])
def test_a_damaged_configuration(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content, encoding="latin-1")
    assert "config.json" in refusal(folder)


def test_a_configuration_of_100_megabytes_is_not_read(folder: Path) -> None:
    with (folder / "config.json").open("wb") as file:
        file.write(b'{"a": "')
        file.truncate(100 << 20)
    assert "config.json has more than 8 MiB" in refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_pipe_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert "not a regular file" in refusal(folder)


def test_the_configuration_alone(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert "config.json but no weights" in refusal(folder)
