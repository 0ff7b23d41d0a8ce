from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from collapsecheck.checkpoints import read_checkpoint
from collapsecheck.checkpoints.state_dicts import find_state_dicts
from collapsecheck.errors import NotLoadableError
from tests.checkpoints import corpus


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    corpus.sentence_transformers(tmp_path / "model")
    return tmp_path / "model"


def refusal(path: Path) -> str:
    with pytest.raises(NotLoadableError) as caught:
        read_checkpoint(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


def change(folder: Path, **fields: Any) -> None:
    entries = json.loads((folder / "modules.json").read_text())
    entries[1] |= fields
    (folder / "modules.json").write_text(json.dumps(entries))


def test_the_chain_its_pooling_and_its_weights(folder: Path) -> None:
    found = read_checkpoint(folder)
    assert found.format == "sentence-transformers-directory"
    assert [(one["name"], one["path"]) for one in found.metadata["modules"]] == [
        ("0", ""),
        ("1", "1_Pooling"),
        ("2", "2_Dense"),
        ("3", "3_Normalize"),
    ]
    assert found.metadata["pooling"]["pooling_mode_mean_tokens"] is True
    assert found.metadata["config"]["model_type"] == "net"
    assert found.metadata["sentence_bert_config"]["max_seq_length"] == 128
    expected = corpus.weights()
    assert sorted(found.content) == ["0", "2"]
    assert all(torch.equal(found.content["0"][name].tensor(), value) for name, value in expected.items())
    assert torch.equal(found.content["2"]["linear.weight"].tensor(), corpus.dense()["linear.weight"])


def test_the_transformer_is_what_is_found_first(folder: Path) -> None:
    assert find_state_dicts(read_checkpoint(folder).content).usable[0].key == "0"


def test_a_transformer_in_a_folder_of_its_own(folder: Path) -> None:
    (folder / "0_Transformer").mkdir()
    for name in ("config.json", "model.safetensors", "sentence_bert_config.json"):
        shutil.move(folder / name, folder / "0_Transformer" / name)
    entries = json.loads((folder / "modules.json").read_text())
    entries[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(entries))
    found = read_checkpoint(folder)
    assert found.metadata["config"]["model_type"] == "net"
    assert found.metadata["sentence_bert_config"]["max_seq_length"] == 128


@pytest.mark.parametrize("path", ["../other", "/etc", "a/b", ".."])
def test_a_folder_outside_is_refused(folder: Path, path: str) -> None:
    (folder.parent / "other").mkdir()
    change(folder, path=path)
    assert "lies outside the directory" in refusal(folder)


def test_a_link_that_leads_out_is_refused(folder: Path) -> None:
    (folder / "link").symlink_to("/etc")
    change(folder, path="link")
    assert "lies outside the directory" in refusal(folder)


def test_a_missing_folder_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "1_Pooling")
    assert "the folder 1_Pooling of modules.json is missing" in refusal(folder)


def test_two_modules_of_one_name(folder: Path) -> None:
    change(folder, name="0")
    assert "the same name" in refusal(folder)


def test_no_weights_at_all(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "2_Dense" / "model.safetensors").unlink()
    assert "no module of modules.json has weights" in refusal(folder)


@pytest.mark.parametrize("content", ["", "{}", "[]", "[3]", '[{"idx": 0}]', '[{"name": 1, "type": "a"}]', "[" * 9999])
def test_a_damaged_chain(folder: Path, content: str) -> None:
    (folder / "modules.json").write_text(content)
    assert "modules.json" in refusal(folder)
