from __future__ import annotations

import argparse
import datetime
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from collapsecheck.checkpoints import Name, read_checkpoint
from collapsecheck.errors import NotLoadableError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.pt"


def saved(content: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def rewritten(content: bytes, compression: int = zipfile.ZIP_STORED, extra: tuple[str, ...] = ()) -> bytes:
    """The same members in a zip file written by Python."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", compression) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
        for name in extra:
            new.writestr(name, b"")
    return buffer.getvalue()


def refusal(path: Path) -> str:
    with pytest.raises(NotLoadableError) as caught:
        read_checkpoint(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_the_versions_of_modules_survive(path: Path) -> None:
    torch.save(nn.BatchNorm1d(2).state_dict(), path)
    assert read_checkpoint(path).content._metadata[""] == {"version": 2}


def test_tensors_stay_in_the_file_until_they_are_used(path: Path) -> None:
    torch.save({"a": torch.ones(1000)}, path)
    with path.open("rb") as file:
        at = file.read().index(torch.ones(1000).numpy().tobytes())
    stored = read_checkpoint(path).content["a"]
    held = stored.tensor()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(torch.tensor(7.0).numpy().tobytes())
    assert held[0] == 7


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file(path: Path, keep: float) -> None:
    content = saved({"weight": torch.randn(100)})
    path.write_bytes(content[: int(len(content) * keep)])
    assert "truncated or damaged" in refusal(path)


def test_every_single_cut_is_refused(path: Path) -> None:
    content = saved({"w": torch.ones(2)})
    for end in range(4, len(content), 37):
        path.write_bytes(content[:end])
        refusal(path)


def test_a_compressed_member(path: Path) -> None:
    path.write_bytes(rewritten(saved({"w": torch.zeros(10_000)}), zipfile.ZIP_DEFLATED))
    assert "is compressed, which torch.save never does" in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice(path: Path) -> None:
    path.write_bytes(rewritten(saved({"w": torch.zeros(2)}), extra=("archive/data.pkl",)))
    assert "archive/data.pkl is in the zip file twice" in refusal(path)


def test_two_roots(path: Path) -> None:
    path.write_bytes(rewritten(saved({"w": torch.zeros(2)}), extra=("other/data.pkl",)))
    assert "more than one data.pkl" in refusal(path)


def test_an_encrypted_member(path: Path) -> None:
    content = bytearray(rewritten(saved({"w": torch.zeros(2)})))
    at = content.index(b"PK\x01\x02")  # the flags in the directory of the zip file
    content[at + 8] |= 1
    path.write_bytes(content)
    assert "is encrypted" in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_with_a_forged_name(path: Path) -> None:
    path.write_bytes(rewritten(saved({"w": torch.zeros(2)}), extra=("archive/\x1b[2J", "archive/\x1b[2J")))
    assert "\\x1b[2J" in refusal(path)


def zip_of(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return path


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["data.pkl"], "expected all members in one folder"),
        (["m/data.pkl", "readme.txt"], "expected all members in one folder"),
        (["m/inner/data.pkl"], "expected all members in one folder"),
        (["arr_0.npy"], "collapsecheck embeddings FILE"),
        (["config.json", "metadata.json", "model.weights.h5"], "a Keras model"),
        (["readme.txt"], "not of torch.save"),
        ([], "an empty zip file"),
    ],
)
def test_other_zip_files(path: Path, names: list[str], said: str) -> None:
    assert said in refusal(zip_of(path, *names))


def test_a_zip_file_behind_other_bytes(path: Path) -> None:
    path.write_bytes(b"\xff\xff" + saved({"w": torch.zeros(2)}))
    assert "the format of the file is not known" in refusal(path)


def test_the_code_of_classes_is_not_needed(path: Path) -> None:
    linear = nn.Linear(2, 2)
    torch.save({"args": argparse.Namespace(lr=1), "loss": np.float64(0.5), "f": print, "net": linear}, path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.content["args"] == {"lr": 1}
    assert checkpoint.content["loss"] == 0.5
    assert checkpoint.content["f"] == Name("builtins.print")
    assert torch.equal(checkpoint.content["net"].state_dict()["bias"].tensor(), linear.bias)
    assert checkpoint.notes == ()


def test_an_attack_is_named(path: Path) -> None:
    torch.save({"f": eval}, path)
    message = refusal(path)
    assert "names builtins.eval, which could only be an attack" in message
    assert "nothing was executed" in message
    assert "weights_only" not in message


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol(path: Path, protocol: int) -> None:
    path.write_bytes(saved({"w": torch.arange(3.0)}, pickle_protocol=protocol))
    assert read_checkpoint(path).content["w"].tensor().tolist() == [0, 1, 2]


def test_a_file_of_a_big_endian_machine(path: Path) -> None:
    """What such a machine writes: the numbers of every storage with their bytes turned round."""
    tensors = {"w": torch.randn(3, 4), "i": torch.arange(5), "h": torch.randn(2).half(), "c": torch.randn(3) * 1j}
    swapped = {
        name: torch.from_numpy(tensor.numpy().byteswap()) if name != "c" else tensor for name, tensor in tensors.items()
    }
    swapped["c"] = torch.from_numpy(tensors["c"].numpy().byteswap())
    content = io.BytesIO(saved(swapped))
    buffer = io.BytesIO()
    with zipfile.ZipFile(content) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"big" if name.endswith("/byteorder") else old.read(name))
    path.write_bytes(buffer.getvalue())
    read = read_checkpoint(path).content
    assert all(torch.equal(read[name].tensor(), tensors[name]) for name in tensors)


def test_a_damaged_pickle(path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02}q\x00X\x01")
        archive.writestr("m/version", b"3\n")
        archive.writestr("m/byteorder", b"little")
    path.write_bytes(buffer.getvalue())
    refusal(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (torch.ones(3), "holds one tensor"),
        ([1, 2], "holds a list"),
        (3, "holds a int"),
        (datetime.timedelta(1), "holds a datetime.timedelta"),
    ],
)
def test_content_that_is_no_mapping(path: Path, content: Any, said: str) -> None:
    torch.save(content, path)
    assert said in refusal(path)
