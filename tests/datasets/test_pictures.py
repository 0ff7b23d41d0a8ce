from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from collapsecheck.datasets.kinds import UnreadableItemError
from collapsecheck.datasets.pictures import convert, read_mode, read_picture

from .conftest import Paint


def png_of_size(path: Path, width: int, height: int) -> Path:
    """Write a PNG that declares a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("side", [8_100, 10_000, 14_000, 60_000])  # 66, 100, 196 and 3600 megapixels
def test_bombs_are_refused_before_they_are_decoded(tmp_path: Path, side: int) -> None:
    with pytest.raises(UnreadableItemError, match="too large to be decoded safely"):
        read_picture(png_of_size(tmp_path / "bomb.png", side, side))


def test_empty_truncated_corrupt_and_foreign_files(tmp_path: Path, paint: Paint) -> None:
    whole = paint("good.png", size=(64, 64)).read_bytes()
    path = tmp_path / "bad.png"
    lfs = b"version https://git-lfs.github.com/spec/v1\n"
    for content, reason in [
        (b"", "empty"),
        (whole[: len(whole) // 2], "cannot be decoded"),
        (whole[:20], "not an image|cannot be decoded"),
        (b"just text", "not an image"),
        (lfs, "git lfs pull"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image"),
    ]:
        path.write_bytes(content)
        with pytest.raises(UnreadableItemError, match=reason) as caught:
            read_picture(path)
        assert str(tmp_path) not in str(caught.value)
        assert str(caught.value).isprintable()


def test_the_limit_can_be_moved(tmp_path: Path, paint: Paint) -> None:
    path = paint("a.png", size=(20, 10))
    assert read_picture(path, 200).size == (20, 10)
    with pytest.raises(UnreadableItemError, match=r"20×10 pixels, more than --max-pixels 199"):
        read_picture(path, 199)
    with pytest.raises(UnreadableItemError, match=r"--max-pixels 199"):
        read_picture(path.read_bytes(), 199)


def test_no_warning_of_large_images_is_shown(tmp_path: Path) -> None:
    """100 megapixels lie in between where Pillow warns and where it refuses; the suite turns warnings into errors."""
    path = png_of_size(tmp_path / "large.png", 10_000, 10_000)
    assert read_mode(path) == "L"
    with pytest.raises(UnreadableItemError, match="cannot be decoded"):  # it is cut off after its first bytes
        read_picture(path, 100_000_000)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_the_content_counts_not_the_suffix(tmp_path: Path, form: str) -> None:
    Image.new("RGB", (8, 8), (10, 200, 30)).save(tmp_path / "x.png", form)
    for source in (tmp_path / "x.png", (tmp_path / "x.png").read_bytes()):
        assert convert(read_picture(source), "RGB").size == (8, 8)


def test_inks_become_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(tmp_path / "x.jpg")
    red, green, blue = convert(read_picture(tmp_path / "x.jpg"), "RGB").getpixel((4, 4))  # type: ignore[misc]
    assert red < 40 and green > 150 and blue > 150  # cyan


def test_a_file_that_has_gone_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UnreadableItemError, match="No such file or directory"):
        read_picture(tmp_path / "gone.png")
    assert read_mode(tmp_path / "gone.png") is None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 10**6),
    st.binary(min_size=1, max_size=8),
    st.sampled_from(["png", "jpg", "gif", "bmp", "webp"]),
)
def test_damage_is_either_read_or_reported(tmp_path: Path, paint: Paint, at: int, noise: bytes, suffix: str) -> None:
    path = paint(f"hit.{suffix}")
    content = bytearray(path.read_bytes())
    at %= len(content)
    content[at : at + len(noise)] = noise
    path.write_bytes(content)
    try:
        convert(read_picture(path), "RGB")
    except UnreadableItemError as error:
        assert str(error)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16", "F"])
def test_every_mode_becomes_grey_or_rgb(mode: str) -> None:
    picture = Image.new(mode, (4, 3))
    assert convert(picture, "L").mode in {"L", "F"}
    assert convert(picture, "RGB").mode in {"RGB", "F"}


def test_a_mode_without_a_way_to_grey_is_unreadable() -> None:
    with pytest.raises(UnreadableItemError, match="LAB"):
        convert(Image.new("LAB", (2, 2)), "L")


def test_sixteen_bits_keep_their_precision(tmp_path: Path) -> None:
    values = np.array([[0, 1, 300], [4095, 40000, 65535]], dtype=np.uint16)
    for suffix in ("png", "tif", "pgm"):
        Image.fromarray(values).save(tmp_path / f"x.{suffix}")
        picture = read_picture(tmp_path / f"x.{suffix}")
        np.testing.assert_allclose(np.asarray(convert(picture, "L")), values / 65535, rtol=1e-6)


def test_palettes_and_transparency(tmp_path: Path) -> None:
    pixels = np.array([[[255, 0, 0], [0, 0, 255]]], dtype=np.uint8)
    palette = Image.fromarray(pixels).quantize(4)
    palette.save(tmp_path / "x.png", transparency=b"\x80\xff")
    picture = read_picture(tmp_path / "x.png")
    assert picture.mode == "P"
    assert np.abs(np.asarray(convert(picture, "RGB")).astype(int) - pixels).max() <= 8
    clear = Image.new("RGBA", (1, 1), (10, 20, 30, 0))
    assert convert(clear, "RGB").getpixel((0, 0)) == (10, 20, 30)  # as torchvision's ImageFolder


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("L", (3, 3), value) for value in (10, 200)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert convert(read_picture(tmp_path / "x.gif"), "L").getpixel((0, 0)) == 10


def test_the_mode_is_read_from_the_header(paint: Paint) -> None:
    assert read_mode(paint("a.png", mode="L")) == "L"
    assert read_mode(paint("b.png", mode="RGBA")) == "RGBA"
