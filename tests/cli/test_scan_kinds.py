"""`collapsecheck scan` on every kind of data, from the command line to the report."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from .conftest import Call

NETWORKS = """
import torch
from torch import nn

def linear():
    return nn.Sequential(nn.Linear(8, 16))

class Pictures(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(64, 16)
    def forward(self, x):
        return self.project(x.flatten(1))

def sound():
    return nn.Sequential(nn.Conv1d(1, 16, 16, 8), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten())

def data():
    return [(row, i % 2) for i, row in enumerate(torch.randn(40, 8, generator=torch.Generator().manual_seed(0)))]
"""
RANDOM = np.random.default_rng(0)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "networks.py").write_text(NETWORKS)
    generator = torch.Generator().manual_seed(0)
    torch.save({"0.weight": torch.randn(16, 8, generator=generator), "0.bias": torch.zeros(16)}, tmp_path / "linear.pt")
    torch.save(
        {"project.weight": torch.randn(16, 64, generator=generator), "project.bias": torch.zeros(16)},
        tmp_path / "pictures.pt",
    )
    torch.save(
        {"0.weight": torch.randn(16, 1, 16, generator=generator), "0.bias": torch.zeros(16)}, tmp_path / "sound.pt"
    )
    return tmp_path


def scan(call: Call, place: Path, model: str, *arguments: object) -> tuple[int, dict[str, object]]:
    build = {"linear": "linear", "pictures": "Pictures", "sound": "sound"}[model]
    found = call(
        "scan", place / f"{model}.pt", *arguments, "--model-def", f"{place / 'networks.py'}:{build}",
        "--format", "json", "--fail-on", "never", "--quiet",
    )  # fmt: skip
    assert found.out, found.err
    return found.code, found.json["data"]


def test_a_csv_table(call: Call, place: Path) -> None:
    rows = RANDOM.normal(size=(40, 8))
    lines = [",".join([*(f"{value:.5f}" for value in row), "ab"[i % 2]]) for i, row in enumerate(rows)]
    (place / "x.csv").write_text("\n".join([",".join([*"abcdefgh", "label"]), *lines]) + "\n")
    code, data = scan(call, place, "linear", place / "x.csv")
    assert (code, data["kind"], data["used"], data["labels"]) == (0, "csv-table", 40, 2)
    assert data["transform"] == "columns a, b, … (8 in all) (labels: label); values as they are in the array"


def test_safetensors(call: Call, place: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"inputs": RANDOM.normal(size=(40, 8)), "labels": np.arange(40) % 4}, place / "x.safetensors")
    code, data = scan(call, place, "linear", place / "x.safetensors")
    assert (code, data["kind"], data["used"], data["labels"]) == (0, "array-file", 40, 4)


def test_a_parquet_table(call: Call, place: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"a": list(RANDOM.normal(size=(40, 8))), "b": [[1.0]] * 40}), place / "x.parquet")
    found = call("scan", place / "linear.pt", place / "x.parquet", "--model-def", f"{place / 'networks.py'}:linear")
    assert found.code == 2 and "Choose with --column; columns: a (lists of numbers), b (lists of numbers)" in found.err
    code, data = scan(call, place, "linear", place / "x.parquet", "--column", "a")
    assert (code, data["kind"], data["used"]) == (0, "arrow-table", 40)


def test_a_tar_of_images_some_of_which_cannot_be_read(call: Call, place: Path) -> None:
    with tarfile.open(place / "x.tar", "w") as tar:
        for i in range(40):
            stream = io.BytesIO()
            Image.fromarray(RANDOM.integers(0, 256, (8, 8), dtype=np.uint8)).save(stream, "PNG")
            for name, content in (
                (f"../{i:02}.png", stream.getvalue()[: 20 if i == 7 else None]),
                (f"../{i:02}.pkl", b"x"),
            ):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    code, data = scan(call, place, "pictures", place / "x.tar")
    assert (code, data["kind"], data["seen"], data["used"]) == (0, "webdataset-tar", 40, 39)
    assert data["unreadable"]["count"] == 1 if isinstance(data["unreadable"], dict) else data["unreadable"] == 1


def test_sounds(call: Call, place: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    for i in range(20):
        (place / "sounds" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        wave = RANDOM.normal(size=2000).cumsum() / 200
        soundfile.write(place / "sounds" / "ab"[i % 2] / f"{i}.wav", wave.clip(-1, 1), 8000 if i % 3 else 11025)
    where = place / "sounds"
    network = f"{place / 'networks.py'}:sound"
    found = call("scan", place / "sound.pt", where, "--model-def", network)
    assert found.code == 2 and "--sample-rate N" in found.err
    found = call("scan", place / "sound.pt", where, "--model-def", network, "--sample-rate", "8000")
    assert found.code == 2 and "--seconds N" in found.err
    code, data = scan(call, place, "sound", where, "--sample-rate", 8000, "--seconds", 0.2)
    assert (code, data["kind"], data["used"], data["labels"]) == (0, "sound-folder", 20, 2)
    assert "resampled from 8000 Hz (13 files), 11025 Hz (7 files)" in str(data["transform"])
    assert "a channel dimension added" in str(data["transform"])


def test_a_data_set_of_the_user(call: Call, place: Path) -> None:
    reference = f"{place / 'networks.py'}:data"
    code, data = scan(call, place, "linear", "--dataset", reference)
    assert (code, data["kind"], data["used"], data["labels"]) == (0, "user-dataset", 40, 2)
    assert data["path"] == reference


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["x.npy", "--column", "a"],
            "--column applies to a table (parquet, Arrow, csv, jsonl) or a tar; this data is of kind array",
        ),
        (["images", "--column", "a"], "this data is of kind image-folder"),
        (["images", "--seconds", "3"], "--seconds applies to sounds"),
        (["images", "--max-pixels", "0"], "--max-pixels must lie in 1..178956970"),
        (["x.npy", "--max-pixels", "9"], "--max-pixels applies to images"),
        (["x.npy", "--sample-rate", "1"], "--sample-rate must lie in"),
    ],
)
def test_options_for_other_data(call: Call, arena: Path, arguments: list[str], message: str) -> None:
    found = call("scan", arena / "healthy.pt", arena / arguments[0], *arguments[1:])
    assert found.code == 2 and message in found.err and found.err.count("\n") == 1
