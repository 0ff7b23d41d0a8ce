"""Files that are no checkpoints: each is named, with what to do."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from collapsecheck.checkpoints import read_checkpoint
from collapsecheck.errors import NotLoadableError

Write = Callable[[str, bytes], Path]


def refusal(path: Path) -> str:
    with pytest.raises(NotLoadableError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.isprintable()
    assert ";" in message  # what to do
    return message


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return buffer.getvalue()


def tarred(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x1c\x00\x00\x00TFL3" + bytes(100), "a TensorFlow Lite model"),
        (b"\x1c\x00\x00\x00PTMF" + bytes(100), "a TorchScript model for mobile"),
        (b"\x1c\x00\x00\x00ET12" + bytes(100), "an ExecuTorch program"),
        (b"\x7fELF\x02\x01\x01" + bytes(100), "compiled native code"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "images are DATA"),
        (b"\xff\xd8\xff\xe0" + bytes(100), "images are DATA"),
        (b"ARROW1\x00\x00" + bytes(100), "an Arrow table"),
        (b"\x00\xff" * 50 + bytes.fromhex("57fb808b247547db"), "the index of a TensorFlow checkpoint"),
        ((1 << 60).to_bytes(8, "little") + b'{"a":', "declares a header of 1,152,921,504,606,846,976 bytes"),
        (b"\xff" * 8 + b'{"a":', "declares a header of"),
        (b'"a": 1, {', "a text file"),
        (zipped(config_dot_json=b"{}", metadata_dot_json=b"{}", model_dot_weights_dot_h5=b""), "a Keras model"),
        (zipped(inner__model_dot_pt=b"x", read_dot_me=b"x"), "a plain zip file around inner/model.pt"),
        (zipped(read_dot_me=b"x"), "no data.pkl in it"),
        (zipped(), "an empty zip file"),
        (tarred("a.jpg", "a.cls", "b.jpg", "b.cls"), "as WebDataset writes"),
        (tarred("model/model.safetensors", "model/config.json"), "unpack it first"),
        (tarred("notes.txt"), "a tar archive"),
        (tarred("notes.txt", "notes.txt"), "in the tar archive twice"),
    ],
)
def test_each_is_named(write: Write, content: bytes, said: str) -> None:
    assert said in refusal(write("model.pt", content))


def test_arrays_point_to_the_command_for_vectors(tmp_path: Path) -> None:
    with (tmp_path / "model.pt").open("wb") as file:
        np.savez(file, a=np.ones(3))
    assert "collapsecheck embeddings FILE" in refusal(tmp_path / "model.pt")


def test_a_header_of_640_bytes_is_not_a_pickle(tmp_path: Path) -> None:
    """Its length begins like protocol 2."""
    header = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'.ljust(640)
    (tmp_path / "model.pkl").write_bytes((640).to_bytes(8, "little") + header + bytes(8))
    found = read_checkpoint(tmp_path / "model.pkl")
    assert found.format == "safetensors-file"
    assert found.content["w"].tensor().tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "header",
    [
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,8]}}',
        b'{"a":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}}',
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}',
        b'{"a":{"dtype":"F32","shape":[4611686018427387904,4611686018427387904],"data_offsets":[0,8]}}',
        b'{"a":',
        b"{" * 5000,
    ],
)
def test_safetensors_that_declare_something_else_than_there_is(tmp_path: Path, header: bytes) -> None:
    body = bytes(12 if b'"b"' in header else 8)
    (tmp_path / "model.pt").write_bytes(len(header).to_bytes(8, "little") + header + body)
    assert "damaged safetensors" in refusal(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["saved_model.pb", "variables"], "a TensorFlow SavedModel"),
        (["_METADATA", "d"], "JAX (Orbax)"),
        (["adapter_config.json", "adapter_model.safetensors"], "merge_and_unload"),
        (["model_index.json", "unet"], "several models (diffusers)"),
        (["zero_to_fp32.py", "latest"], "DeepSpeed"),
        (["latest_checkpointed_iteration.txt"], "Megatron"),
        (["dataset_info.json", "state.json"], "it is DATA"),
        (["checkpoint", "model.ckpt.index", "model.ckpt.data-00000-of-00001"], "a TensorFlow checkpoint"),
        (["__0_0.distcp"], "without its .metadata"),
        ([".metadata"], "without its *.distcp"),
        (["config.json"], "no weights"),
        (["a.onnx", "b.txt"], "such as a.onnx"),
        ([], "an empty directory"),
    ],
)
def test_directories_are_named(tmp_path: Path, names: list[str], said: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    assert said in refusal(folder)


def test_a_directory_of_pipes_is_not_waited_for(tmp_path: Path) -> None:
    for name in (".metadata", "a.distcp"):
        os.mkfifo(tmp_path / name)
    assert "not a regular file" in refusal(tmp_path)
