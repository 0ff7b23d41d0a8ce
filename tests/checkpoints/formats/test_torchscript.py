from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from collapsecheck.checkpoints import read_checkpoint
from collapsecheck.errors import NotLoadableError
from tests.checkpoints import corpus
from tests.checkpoints.conftest import Touch


def rewritten(path: Path, edit: Callable[[str, bytes], bytes], method: int = zipfile.ZIP_STORED) -> Path:
    """The same archive with the members that `edit` gives."""
    out = path.with_name(f"edited-{path.name}")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, edit(name, old.read(name)))
    return out


def loaded(path: Path) -> dict[str, torch.Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(torch.jit.load(path).state_dict())


@pytest.mark.parametrize("make", [corpus.scripted, corpus.traced])
def test_the_weights_are_those_that_torch_loads(tmp_path: Path, make: corpus.Make) -> None:
    path = tmp_path / "model.pt"
    make(path)
    found = read_checkpoint(path)
    expected = loaded(path)
    assert list(found.content) == list(expected)
    assert all(torch.equal(found.content[name].tensor(), value) for name, value in expected.items())
    assert found.runs_code
    assert found.metadata["layers"]["trunk.0"] == "torch.nn.modules.conv.Conv2d"
    assert [note.id for note in found.notes] == ["contains-code"]


def test_attributes_that_are_tensors_are_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    corpus.scripted(path)
    found = read_checkpoint(path)
    assert found.metadata["unsaved"] == ("scale",)
    assert "scale" not in found.content


def test_a_frozen_module_has_constants_alone(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    corpus.frozen(path)
    found = read_checkpoint(path)
    head = corpus.net().head.weight
    assert any(torch.equal(value.tensor(), head) for value in found.content.values() if value.shape == head.shape)
    assert all(name.startswith("constants.") for name in found.content)
    assert [note.id for note in found.notes] == ["contains-code", "frozen-module"]


class Writes(nn.Module):
    """Makes a file when it is loaded, and when it is called."""

    def __init__(self, marker: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.marker = marker

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, str, bool]:
        return self.weight, self.marker, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, str, bool]) -> None:
        self.marker = state[1]
        self.training = state[2]
        self.weight = state[0] + torch.from_file(self.marker, True, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight + torch.from_file(self.marker, True, 2)


def test_code_that_runs_on_loading_does_not_run(tmp_path: Path, marker: Path) -> None:
    path = tmp_path / "model.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Writes(str(marker))), path)
    found = read_checkpoint(path)
    assert not marker.exists()
    assert found.runs_code
    assert found.content == {}
    assert [note.id for note in found.notes] == ["contains-code", "no-readable-weights"]
    loaded(path)
    assert marker.exists()  # the attack itself works: torch.jit.load alone runs it


@pytest.mark.parametrize("member", ["data.pkl", "constants.pkl"])
def test_a_hostile_pickle_in_it_is_refused(tmp_path: Path, marker: Path, member: str) -> None:
    corpus.frozen(tmp_path / "model.pt")
    hostile = pickle.dumps(Touch(marker), protocol=2)
    path = rewritten(tmp_path / "model.pt", lambda name, held: hostile if name.endswith(member) else held)
    with pytest.raises(NotLoadableError, match="dangerous-global"):
        read_checkpoint(path)
    assert not marker.exists()


def test_compressed_numbers_are_refused(tmp_path: Path) -> None:
    corpus.scripted(tmp_path / "model.pt")
    path = rewritten(tmp_path / "model.pt", lambda _, held: held, zipfile.ZIP_DEFLATED)
    with pytest.raises(NotLoadableError, match="is compressed"):
        read_checkpoint(path)


def test_without_its_code_all_tensors_are_taken(tmp_path: Path) -> None:
    corpus.scripted(tmp_path / "model.pt")
    path = rewritten(tmp_path / "model.pt", lambda name, held: b"" if name.endswith(".py") else held)
    assert set(read_checkpoint(path).content) > {"head.weight", "scale"}


def test_code_as_large_as_no_honest_one(tmp_path: Path) -> None:
    corpus.scripted(tmp_path / "model.pt")
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(tmp_path / "model.pt") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            bomb = name.endswith("corpus.py")
            method = zipfile.ZIP_DEFLATED if bomb else zipfile.ZIP_STORED
            new.writestr(name, bytes(100 << 20) if bomb else old.read(name), method)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(NotLoadableError, match="expected at most"):
        read_checkpoint(path)


def nested(modules: int, *, twice: bool) -> bytes:
    """The pickle of modules within one another: each holds the next one, once or twice."""
    parts = [b"\x80\x02"]
    for _ in range(modules):
        parts.append(b"c__torch__.m\nM\n)\x81}(")
        parts.append(b"X\x01\x00\x00\x00a")
    parts.append(b"N")
    for index in range(modules):
        again = b"q" + bytes([index]) + b"X\x01\x00\x00\x00bh" + bytes([index]) if twice else b""
        parts.append(again + b"ub")
    return b"".join((*parts, b"."))


@pytest.mark.parametrize(("modules", "twice"), [(40, True), (100_000, False)])
def test_modules_without_end(tmp_path: Path, modules: int, twice: bool) -> None:
    corpus.frozen(tmp_path / "model.pt")
    hostile = nested(modules, twice=twice)
    path = rewritten(tmp_path / "model.pt", lambda name, held: hostile if name.endswith("/data.pkl") else held)
    with pytest.raises(NotLoadableError, match="those of any model"):
        read_checkpoint(path)


@pytest.mark.parametrize("value", [3, [1], {"a": 1}, None])
def test_what_is_no_module(tmp_path: Path, value: Any) -> None:
    corpus.frozen(tmp_path / "model.pt")
    held_instead = pickle.dumps(value, protocol=2)
    path = rewritten(tmp_path / "model.pt", lambda name, held: held_instead if name.endswith("/data.pkl") else held)
    with pytest.raises(NotLoadableError, match="holds no module"):
        read_checkpoint(path)
