from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from collapsecheck.checkpoints import read_checkpoint
from collapsecheck.errors import NotLoadableError
from tests.checkpoints import corpus
from tests.checkpoints.conftest import Touch

Edit = Callable[[dict[str, bytes]], None]
CONFIG = "data/weights/model_weights_config.json"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.pt2"
    corpus.exported(path)
    return path


@pytest.fixture
def edited(honest: Path, tmp_path: Path) -> Callable[..., Path]:
    def inner(edit: Edit, method: int = zipfile.ZIP_STORED) -> Path:
        with zipfile.ZipFile(honest) as old:
            root = old.namelist()[0].partition("/")[0]
            members = {name.removeprefix(f"{root}/"): old.read(name) for name in old.namelist()}
        edit(members)
        with zipfile.ZipFile(tmp_path / "model.pt2", "w", method) as new:
            for name, held in members.items():
                new.writestr(f"{root}/{name}", held)
        return tmp_path / "model.pt2"

    return inner


def meta(members: dict[str, bytes], name: str = "head.weight", **fields: Any) -> None:
    config = json.loads(members[CONFIG])
    for field, value in fields.items():
        place = config["config"][name]
        (place if field in place else place["tensor_meta"])[field] = value
    members[CONFIG] = json.dumps(config).encode()


def sizes(*values: int) -> list[dict[str, int]]:
    return [{"as_int": value} for value in values]


def test_the_weights_are_those_that_torch_loads(honest: Path) -> None:
    found = read_checkpoint(honest)
    expected = torch.export.load(honest).state_dict
    assert list(found.content) == list(expected)
    assert all(torch.equal(found.content[name].tensor(), value) for name, value in expected.items())
    assert found.runs_code
    assert [note.id for note in found.notes] == ["contains-code"]
    assert found.metadata == {"models": ("model",)}


def test_weights_of_other_types_and_strides(tmp_path: Path) -> None:
    class Mixed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bf = torch.nn.Parameter(torch.arange(6, dtype=torch.bfloat16).view(2, 3).t())
            self.register_buffer("wide", torch.arange(8.0, dtype=torch.float64)[2::2])
            self.register_buffer("flag", torch.tensor([True, False]))
            self.register_buffer("none", torch.empty(0, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.bf.sum() + self.wide.sum() + self.flag.sum() + self.none.sum()

    path = tmp_path / "model.pt2"
    corpus.quietly(lambda: torch.export.save(torch.export.export(Mixed(), (torch.ones(1),)), path))
    found = read_checkpoint(path)
    expected = torch.export.load(path).state_dict
    assert list(found.content) == list(expected)
    for name, value in expected.items():
        held = found.content[name].tensor()
        assert held.dtype == value.dtype
        assert torch.equal(held, value)


def test_a_pickle_among_the_sample_inputs_is_not_opened(edited: Callable[..., Path], marker: Path) -> None:
    """torch.export.load itself opens it without any restriction."""
    hostile = pickle.dumps(Touch(marker))
    path = edited(lambda members: members.update({"data/sample_inputs/model.pt": hostile}))
    assert set(read_checkpoint(path).content) == set(corpus.net().state_dict())
    assert not marker.exists()


def test_a_weight_that_is_a_pickle_is_left_out_and_said(edited: Callable[..., Path], marker: Path) -> None:
    def edit(members: dict[str, bytes]) -> None:
        meta(members, use_pickle=True)
        for name in members:
            if name.startswith("data/weights/weight_"):
                members[name] = members[name] if len(members[name]) != 80 else pickle.dumps(Touch(marker))

    found = read_checkpoint(edited(edit))
    assert "head.weight" not in found.content
    assert [note.names for note in found.notes if note.id == "unread-weights"] == [("head.weight",)]
    assert not marker.exists()


def test_native_code_is_said(edited: Callable[..., Path]) -> None:
    found = read_checkpoint(edited(lambda members: members.update({"data/aotinductor/model/abc.so": b"\x7fELF"})))
    assert [note.id for note in found.notes] == ["contains-code", "native-code"]
    assert found.notes[1].names == ("data/aotinductor/model/abc.so",)


def test_an_archive_of_native_code_alone_has_no_weights(edited: Callable[..., Path]) -> None:
    def edit(members: dict[str, bytes]) -> None:
        for name in [name for name in members if name.startswith(("data/weights", "models"))]:
            del members[name]
        members["data/aotinductor/model/abc.so"] = b"\x7fELF"

    found = read_checkpoint(edited(edit))
    assert found.content == {}
    assert [note.id for note in found.notes] == ["contains-code", "native-code", "no-readable-weights"]


def test_several_models_in_one_archive(tmp_path: Path) -> None:
    package = pytest.importorskip("torch.export.pt2_archive._package")
    program = torch.export.export(corpus.net(), (torch.ones(1, 3, 8, 8),))
    buffer = io.BytesIO()
    package.package_pt2(buffer, exported_programs={"one": program, "two": program})
    (tmp_path / "model.pt2").write_bytes(buffer.getvalue())
    found = read_checkpoint(tmp_path / "model.pt2")
    assert list(found.content) == ["one", "two"]
    expected = corpus.net().state_dict()
    assert all(torch.equal(found.content["two"][name].tensor(), value) for name, value in expected.items())


@pytest.mark.parametrize("name", ["serialized_state_dict.pt", "serialized_state_dict.json"])
def test_the_layout_of_torch_before_2_8(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO()
    torch.save(corpus.net().state_dict(), buffer)
    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr(name, buffer.getvalue())
        archive.writestr("version", "5.1")
    found = read_checkpoint(tmp_path / "model.pt2")
    expected = corpus.net().state_dict()
    assert list(found.content) == list(expected)
    assert all(torch.equal(found.content[name].tensor(), value) for name, value in expected.items())


def test_a_hostile_pickle_in_that_layout(tmp_path: Path, marker: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"a": Touch(marker)}, buffer)
    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("serialized_state_dict.pt", buffer.getvalue())
    with pytest.raises(NotLoadableError, match="dangerous-global"):
        read_checkpoint(tmp_path / "model.pt2")
    assert not marker.exists()


def test_compressed_weights_are_refused(edited: Callable[..., Path]) -> None:
    with pytest.raises(NotLoadableError, match="is compressed"):
        read_checkpoint(edited(lambda _: None, zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize(
    "fields",
    [
        {"sizes": sizes(6, 4)},
        {"sizes": sizes(1 << 40, 1 << 40), "strides": sizes(0, 0)},
        {"sizes": sizes(5, 40), "strides": sizes(0, 0)},
        {"sizes": sizes(-5, -4)},
        {"sizes": sizes(1 << 70, 0), "strides": sizes(1, 1)},
        {"sizes": sizes(0, *[1 << 60] * 9), "strides": sizes(*[1] * 10)},
        {"sizes": sizes(*[1] * 1000), "strides": sizes(*[1] * 1000)},
        {"sizes": [{"as_expr": "2*s0"}, {"as_int": 4}]},
        {"sizes": [{"as_int": True}, {"as_int": 4}]},
        {"sizes": None},
        {"strides": sizes(-1, 1)},
        {"strides": sizes(4)},
        {"strides": sizes(1 << 61, 1)},
        {"storage_offset": {"as_int": 1}},
        {"storage_offset": {"as_int": -1}},
        {"storage_offset": None},
        {"dtype": 0},
        {"dtype": 20},
        {"dtype": "float32"},
        {"dtype": 8},
        {"layout": 1},
        {"tensor_meta": None},
        {"path_name": "../weight_0"},
        {"path_name": "weight_99"},
        {"path_name": 3},
    ],
    ids=str,
)
def test_a_weight_that_declares_something_else_than_there_is(
    edited: Callable[..., Path], fields: dict[str, Any]
) -> None:
    with pytest.raises(NotLoadableError) as caught:
        read_checkpoint(edited(lambda members: meta(members, **fields)))
    assert "the weight head.weight: " in str(caught.value)


@pytest.mark.parametrize(
    "config", [b"", b"[]", b"{}", b'{"config": []}', b'{"config": {"a": 3}}', b"[" * 100_000, b"\xff"], ids=str
)
def test_a_damaged_description(edited: Callable[..., Path], config: bytes) -> None:
    with pytest.raises(NotLoadableError):
        read_checkpoint(edited(lambda members: members.update({CONFIG: config})))
