from __future__ import annotations

import importlib.util
import multiprocessing
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collapsecheck.datasets import OpenOptions, TransformOptions, choose_preprocessing, open_items
from collapsecheck.datasets.kinds import Rows
from collapsecheck.datasets.model_input import ModelInput
from collapsecheck.errors import CollapsecheckError, NotMeasuredError, UsageError

from .conftest import GIB, Limit, everything

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("scipy")


def tone(path: Path, rate: int = 8_000, seconds: float = 0.5, pitch: float = 440.0, channels: int = 1) -> Path:
    """Write a sine; a second channel is silent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.sin(2 * np.pi * pitch * np.arange(round(rate * seconds)) / rate).astype(np.float32)
    soundfile.write(path, np.stack([wave, *[0 * wave] * (channels - 1)], axis=1), rate)
    return path


def opened(path: Path, **options: Any) -> Rows:
    items = open_items(path, options=OpenOptions(**options))
    assert isinstance(items, Rows) and items.kind == "sound-folder"
    return items


def test_class_folders_of_every_format(tmp_path: Path) -> None:
    for i, name in enumerate(["bird/a.wav", "bird/b.flac", "frog/c.ogg", "frog/d.WAV"]):
        tone(tmp_path / name, pitch=200.0 + 100 * i)
    items = opened(tmp_path)
    assert items.labels is not None and items.labels.tolist() == [0, 0, 1, 1] and items.classes == ("bird", "frog")
    assert items.item_shape == (4000,) and items.note == "0.5 s of mono sound at 8000 Hz"
    for i in range(4):
        spectrum = np.abs(np.fft.rfft(items.read(i).numpy()))
        assert abs(int(spectrum.argmax()) * 2 - (200 + 100 * i)) <= 2


def test_a_single_sound_is_recognised_by_its_content(tmp_path: Path) -> None:
    for suffix in ("wav", "flac", "ogg"):
        path = tone(tmp_path / f"a.{suffix}").rename(tmp_path / f"{suffix}.data")
        assert len(opened(path)) == 1


def test_channels_are_averaged(tmp_path: Path) -> None:
    mono, stereo = opened(tone(tmp_path / "1/a.wav")), opened(tone(tmp_path / "2/a.wav", channels=2))
    np.testing.assert_allclose(stereo.read(0).numpy(), mono.read(0).numpy() / 2, atol=1e-4)


def test_rates_must_agree_or_be_brought_to_one(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 8_000)
    tone(tmp_path / "b.wav", 22_050)
    tone(tmp_path / "c.wav", 22_050)
    with pytest.raises(UsageError, match=r"22050 Hz \(2 files\), 8000 Hz \(1 files\)\); .*--sample-rate N"):
        open_items(tmp_path)
    items = opened(tmp_path, sample_rate=16_000, seconds=0.5)
    assert items.item_shape == (8_000,)
    assert items.note == (
        "0.5 s of mono sound at 16000 Hz, resampled from 22050 Hz (2 files), 8000 Hz (1 files), "
        "cut or filled with zeros at the end"
    )
    wanted = np.sin(2 * np.pi * 440 * np.arange(8_000) / 16_000)
    for i in range(3):  # the filter rings at both ends
        np.testing.assert_allclose(items.read(i).numpy()[200:-200], wanted[200:-200], atol=5e-3)


def test_lengths_must_agree_or_be_brought_to_one(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", seconds=0.5)
    tone(tmp_path / "b.wav", seconds=2)
    with pytest.raises(UsageError, match=r"0\.5 to 2 s\); bring them to one: --seconds N"):
        open_items(tmp_path)
    items = opened(tmp_path, seconds=1)
    assert items.item_shape == (8_000,)
    short, long = items.read(0), items.read(1)
    assert not short[4_000:].any() and short[:4_000].any() and long[4_000:].any()
    assert torch.equal(short[:4_000], long[:4_000])


@pytest.mark.parametrize(("channels", "shape"), [(None, [4_000]), (1, [1, 4_000])])
def test_the_first_layer_decides_on_the_channel_dimension(
    tmp_path: Path, channels: int | None, shape: list[int]
) -> None:
    items = opened(tone(tmp_path / "a.wav"))
    model = ModelInput(channels=None, sound_channels=channels, token_ids=False, arch_name=None)
    chosen = choose_preprocessing(items, model, TransformOptions())
    assert list(chosen.item(items.read(0)).shape) == shape and "samples in -1..1" in chosen.description
    with pytest.raises(UsageError, match="takes 2 channels, sounds are mixed to one"):
        model = ModelInput(channels=None, sound_channels=2, token_ids=False, arch_name=None)
        choose_preprocessing(items, model, TransformOptions())


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers(tmp_path: Path, start: str) -> None:
    for i in range(8):
        tone(tmp_path / f"{i}.wav")
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(start, force=True)
    try:
        assert len(everything(opened(tmp_path), workers=2)[0]) == 8
    finally:
        multiprocessing.set_start_method(before, force=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_rate": 0}, "--sample-rate must lie in"),
        ({"sample_rate": 10**9}, "--sample-rate must lie in"),
        ({"seconds": 0.0}, "--seconds must lie above 0"),
        ({"seconds": float("nan")}, "--seconds must lie above 0"),
        ({"seconds": 1e9}, "--seconds must lie above 0"),
        ({"column": "x"}, "--column applies to a table"),
        ({"max_pixels": 100}, "--max-pixels applies to images"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        opened(tone(tmp_path / "a.wav"), **options)


def test_without_the_extra_the_install_line_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "collapsecheck.datasets.kinds.sound_folder.find_spec", lambda name: None if name == "scipy" else find_spec(name)
    )
    with pytest.raises(UsageError, match=r"pip install 'collapsecheck\[audio\]'"):
        open_items(tone(tmp_path / "a.wav"))


# ---- damaged and hostile


def wav(data: bytes, declared: int | None = None, rate: int = 8_000, channels: int = 1) -> bytes:
    size = len(data) if declared is None else declared
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * 2 * channels % 2**32, 2 * channels, 16)
    body = b"WAVE" + head + struct.pack("<4sI", b"data", size) + data
    return b"RIFF" + struct.pack("<I", min(2**32 - 1, 36 + size)) + body


def test_a_header_that_declares_four_gigabytes(tmp_path: Path, memory_limit: Limit) -> None:
    tone(tmp_path / "good.wav", seconds=1)
    (tmp_path / "big.wav").write_bytes(wav(bytes(1000), declared=2**32 - 1))
    with memory_limit(GIB):
        values, failed = everything(opened(tmp_path, seconds=1))
    assert len(values) + len(failed) == 2  # what is there is filled with silence, or the file counts as cut off
    (tmp_path / "long.wav").write_bytes(wav(bytes(1000), declared=2**32 - 1, channels=512))
    with memory_limit(GIB):
        everything(opened(tmp_path, seconds=600, sample_rate=8_000))


def test_rates_that_no_sound_has(tmp_path: Path, memory_limit: Limit) -> None:
    tone(tmp_path / "good.wav")
    (tmp_path / "fast.wav").write_bytes(wav(bytes(1000), rate=2**31 - 1))
    (tmp_path / "slow.wav").write_bytes(wav(bytes(1000), rate=1))
    with memory_limit(GIB):
        values, failed = everything(opened(tmp_path, sample_rate=16_000, seconds=0.5))
    assert len(values) == 1 and "samples a second" in failed["slow.wav"] and "fast.wav" in failed


def test_foreign_cut_and_empty_files_are_unreadable(tmp_path: Path) -> None:
    tone(tmp_path / "good.wav")
    (tmp_path / "text.wav").write_text("no sound at all")
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "silent.wav").write_bytes(wav(b""))
    flac = tone(tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(flac[: len(flac) // 2])
    values, failed = everything(opened(tmp_path))
    assert len(values) == 1 and set(failed) == {"text.wav", "empty.wav", "silent.wav", "cut.flac"}
    assert all(str(tmp_path) not in reason and reason.isprintable() for reason in failed.values()), failed


def test_only_damaged_files_cannot_be_measured(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound at all")
    with pytest.raises(NotMeasuredError, match=r"not one of the sounds can be read; text\.wav: cannot be decoded"):
        open_items(tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=6), st.sampled_from(["wav", "flac", "ogg"]))
def test_damage_is_either_read_or_reported(tmp_path: Path, at: int, noise: bytes, suffix: str) -> None:
    path = tone(tmp_path / suffix / f"hit.{suffix}", seconds=0.05)
    content = bytearray(path.read_bytes())
    at %= len(content)
    content[at : at + len(noise)] = noise
    path.write_bytes(content)
    try:
        everything(open_items(path.parent, options=OpenOptions(seconds=0.05, sample_rate=8_000)))
    except CollapsecheckError as error:
        assert str(error)
