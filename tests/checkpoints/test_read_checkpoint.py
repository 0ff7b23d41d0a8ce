from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from collapsecheck.checkpoints import CheckpointFormat, formats, read_checkpoint
from collapsecheck.discovery import plugins
from collapsecheck.errors import NotLoadableError, UsageError

Write = Callable[[str, bytes], Path]


def refusal(path: Path) -> str:
    with pytest.raises(NotLoadableError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.isprintable()
    assert path.name in message
    return message


def test_says_what_was_read_and_how(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "model.pt"
    torch.save(weights, path)
    checkpoint = read_checkpoint(path)
    assert (checkpoint.path, checkpoint.format, checkpoint.runs_code) == (path, "torch-zip", False)
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert torch.equal(checkpoint.content["weight"].tensor(), weights["weight"])


def test_no_two_formats_read_the_same_bytes(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    from safetensors.torch import save_file

    files = [tmp_path / name for name in ("zip", "legacy", "safetensors")]
    torch.save(weights, files[0])
    torch.save(weights, files[1], _use_new_zipfile_serialization=False)
    save_file(weights, files[2])
    for path in files:
        head = path.read_bytes()[:512]
        found = [each for each in plugins(formats, CheckpointFormat).values() if each().recognises(head, path)]
        assert len(found) == 1, path.name


@pytest.mark.parametrize("name", ["model.safetensors", "model.h5", "model", "model.txt"])
def test_the_name_does_not_matter(tmp_path: Path, weights: dict[str, torch.Tensor], name: str) -> None:
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    (tmp_path / name).write_bytes(buffer.getvalue())
    assert read_checkpoint(tmp_path / name).format == "torch-zip"


def test_a_missing_path_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_checkpoint(tmp_path / "model.pt")


def test_code_in_a_pickle_never_runs(hostile: Path, marker: Path) -> None:
    message = refusal(hostile)
    assert not marker.exists()
    assert f"names {os.system.__module__}.system, which could only be an attack" in message
    assert "nothing was executed" in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"hello there\nthis is no model\n", 'a text file (it begins "hello there'),
        ("grüße".encode() * 200, "a text file"),
        (b'{"layers": 3}', "a text file"),
        (b"<!DOCTYPE html><html>log in</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
        (b"GGUF\x03\x00\x00\x00" + bytes(100), "a GGUF file"),
        (b"\x93NUMPY\x01\x00" + bytes(100), "collapsecheck embeddings FILE"),
        (b"PAR1" + bytes(100), "a Parquet table"),
        (b"\x1f\x8b\x08\x00" + bytes(100), "a gzip file"),
        (pickle.dumps({"weight": [1.0]}), "a plain Python pickle"),
        (pickle.dumps({"weight": [1.0]}, protocol=2), "a plain Python pickle"),
        (bytes(range(256)), "the format of the file is not known"),
        (b"\xff" * 600, "the format of the file is not known"),
    ],
)
def test_other_files_are_named_with_what_to_do(write: Write, content: bytes, said: str) -> None:
    assert said in refusal(write("model.pt", content))


def test_a_tar_archive(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    with tarfile.open(tmp_path / "model.pt", "w") as archive:
        archive.add(tmp_path / "a", "storages")
    assert "a tar archive" in refusal(tmp_path / "model.pt")


def test_a_text_file_cannot_forge_lines(write: Write) -> None:
    assert "\\x1b" not in refusal(write("model.pt", b"fine\nerror: none\n"))
    refusal(write("model.pt", "a\u2028b\u202ec".encode()))


def test_a_directory_names_the_file_to_give(tmp_path: Path) -> None:
    folder = tmp_path / "model.pt"
    folder.mkdir()
    assert "an empty directory" in refusal(folder)
    (folder / "notes.txt").touch()
    assert "a directory, expected a file" in refusal(folder)
    (folder / "epoch_3.safetensors").touch()
    assert "such as epoch_3.safetensors" in refusal(folder)
    (folder / ".metadata").touch()
    assert "torch.distributed.checkpoint" in refusal(folder)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.pt")
    assert "not a regular file" in refusal(tmp_path / "model.pt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(write: Write) -> None:
    path = write("model.pt", b"PK")
    path.chmod(0)
    assert "cannot be read" in refusal(path)


def test_an_error_of_the_disk_is_said(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("model.pt", b"PK")

    def broken(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", broken)
    assert "cannot be read (Permission denied)" in refusal(path)


def test_importing_and_refusing_needs_no_torch(write: Write) -> None:
    path = write("model.pt", b"hello")
    code = (
        "import sys; from collapsecheck.checkpoints import read_checkpoint\n"
        f"try: read_checkpoint({str(path)!r})\n"
        "except Exception as error: assert 'text file' in str(error), error\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
