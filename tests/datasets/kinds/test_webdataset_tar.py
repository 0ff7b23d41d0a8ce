from __future__ import annotations

import gzip
import multiprocessing
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collapsecheck.datasets import OpenOptions, open_items
from collapsecheck.datasets.kinds import Pictures, Rows, UnreadableItemError
from collapsecheck.datasets.tar_members import members
from collapsecheck.errors import CollapsecheckError, NotMeasuredError, UsageError

from ..test_pictures import png_of_size
from .conftest import GIB, Limit, Members, everything, npy, picture, write_tar


class Marks:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def samples(count: int, first: int = 0) -> Members:
    found = []
    for i in range(first, first + count):
        found += [(f"{i:04}.png", picture(i)), (f"{i:04}.cls", str(i % 3).encode())]
    return found


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_shard_gives_pictures_and_labels(tmp_path: Path, form: int) -> None:
    long = "deep/" * 30  # beyond the hundred characters of the plain header
    found = [(f"{long}{name}", content) for name, content in samples(7)] if form != tarfile.USTAR_FORMAT else samples(7)
    items = open_items(write_tar(tmp_path / "a.tar", found, form))
    assert isinstance(items, Pictures) and items.kind == "webdataset-tar"
    assert items.names[2] == ("" if form == tarfile.USTAR_FORMAT else long) + "0002"
    assert items.labels is not None and items.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert everything(items) == (list(range(7)), {})


def test_a_renamed_shard_is_recognised_by_its_content(tmp_path: Path) -> None:
    assert open_items(write_tar(tmp_path / "data.bin", samples(2))).kind == "webdataset-tar"


def test_a_folder_of_shards_is_read_in_order(tmp_path: Path) -> None:
    write_tar(tmp_path / "train/1.tar", samples(3, first=5))
    write_tar(tmp_path / "train/0.tar", samples(5))
    items = open_items(tmp_path)
    assert items.names[0] == "train/0.tar/0000" and items.names[7] == "train/1.tar/0007"
    assert everything(items)[0] == list(range(8))


def test_arrays(tmp_path: Path) -> None:
    found = [(f"{i}.npy", npy(np.full((2, 3), i, ">f8"))) for i in range(4)]
    items = open_items(write_tar(tmp_path / "a.tar", [*found, ("4.npy", npy(np.zeros(5)))]))
    assert isinstance(items, Rows) and items.item_shape == (2, 3)
    assert items.rows([3, 1]).tolist() == np.stack([np.full((2, 3), 3), np.full((2, 3), 1)]).tolist()
    values, failed = everything(items)
    assert values == [0, 1, 2, 3] and "has the shape [5]" in failed["4"]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_open_the_tar_for_themselves(tmp_path: Path, start: str) -> None:
    items = open_items(write_tar(tmp_path / "a.tar", samples(12)))
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(start, force=True)
    try:
        assert everything(items, workers=2) == (list(range(12)), {})
    finally:
        multiprocessing.set_start_method(before, force=True)


# ---- labels


def test_labels_from_json_and_from_texts_that_repeat(tmp_path: Path) -> None:
    found: Members = []
    for i in range(8):
        found += [(f"{i}.png", picture(i)), (f"{i}.json", b'{"label": %d, "w": [1]}' % (10 - i % 2))]
    items = open_items(write_tar(tmp_path / "a.tar", found))
    assert items.classes == ("9", "10")
    texts = [(name.replace("json", "txt"), b"cat" if name < "4" else b"dog") for name, content in found]
    texts = [(name, picture(1) if name.endswith("png") else content) for name, content in texts]
    assert open_items(write_tar(tmp_path / "b.tar", texts)).classes == ("cat", "dog")
    captions = [(name, content if name.endswith("png") else f"a photo of {name}".encode()) for name, content in texts]
    assert open_items(write_tar(tmp_path / "c.tar", captions)).labels is None


def test_a_missing_label_makes_the_item_unreadable_but_few_labels_are_none(tmp_path: Path) -> None:
    found = [member for member in samples(6) if member[0] != "0003.cls"]
    items = open_items(write_tar(tmp_path / "a.tar", found))
    assert everything(items) == ([0, 1, 2, 4, 5], {"0003": "has no label"})
    found = [member for member in samples(6) if member[0][-3:] == "png" or member[0] == "0003.cls"]
    items = open_items(write_tar(tmp_path / "b.tar", found))
    assert items.labels is None and len(everything(items)[0]) == 6


# ---- choice of the input


def test_several_inputs_must_be_chosen_among(tmp_path: Path) -> None:
    found: Members = []
    for i in range(3):
        found += [(f"{i}.left.png", picture(i)), (f"{i}.right.png", picture(100 + i)), (f"{i}.npy", npy([i]))]
    path = write_tar(tmp_path / "a.tar", found)
    with pytest.raises(UsageError, match=r"--column: left\.png, right\.png"):
        open_items(path)
    assert everything(open_items(path, options=OpenOptions(column="right.png")))[0] == [100, 101, 102]
    assert everything(open_items(path, options=OpenOptions(column=".npy")))[0] == [0, 1, 2]
    with pytest.raises(UsageError, match=r"did you mean 'left\.png'"):
        open_items(path, options=OpenOptions(column="lefft.png"))


def test_samples_may_differ_in_the_format_of_their_image(tmp_path: Path) -> None:
    found = [("0.png", picture(7)), ("1.BMP", picture(8, form="BMP")), ("2.gif", picture(9, form="GIF"))]
    assert everything(open_items(write_tar(tmp_path / "a.tar", found)))[0] == [7, 8, 9]


# ---- hostile and damaged


def test_pickles_are_never_decoded(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    bad = pickle.dumps(Marks(mark))
    found = [*samples(2), ("x.pkl", bad), ("x.cls", b"1"), ("y.pyd", bad), ("z.pth", bad), ("w.npy", bad)]
    values, failed = everything(open_items(write_tar(tmp_path / "a.tar", found)))
    assert values == [0, 1] and not mark.exists()
    assert failed["x"] == "has no .png, only .pkl (a pickle, which is never decoded), .cls"
    assert set(failed) == {"x", "y", "z", "w"}
    with pytest.raises(NotMeasuredError, match=r"neither images nor \.npy, but \.pkl \(a pickle, which is never"):
        open_items(write_tar(tmp_path / "b.tar", [("x.pkl", bad)]))
    found = [("a.npy", npy(np.array([Marks(mark)], dtype=object))), ("b.npy", npy([1.0]))]
    values, failed = everything(open_items(write_tar(tmp_path / "c.tar", found)))
    assert values == [1] and "pickled Python objects, which are never loaded" in failed["a"] and not mark.exists()


def test_names_lead_nowhere(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    names = ["../../evil", "/evil", "a/../../evil2", "evil\n\x1b[31m3"]
    items = open_items(write_tar(inside / "a.tar", [(f"{name}.png", picture(i)) for i, name in enumerate(names)]))
    assert everything(items)[0] == [0, 1, 2, 3] and list(items.names) == names
    assert [path.name for path in tmp_path.rglob("*")] == ["inside", "a.tar"]


def test_links_devices_and_folders_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture(200))
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"{kind!r}.png")
            info.type, info.linkname = kind, str(tmp_path / "secret.png")
            tar.addfile(info)
    with pytest.raises(NotMeasuredError, match="holds no samples"):
        open_items(tmp_path / "a.tar")


def test_a_terabyte_that_is_not_there(tmp_path: Path, memory_limit: Limit) -> None:
    info = tarfile.TarInfo("big.png")
    info.size = 10**12
    path = write_tar(tmp_path / "a.tar", samples(2))
    whole = path.read_bytes()
    path.write_bytes(whole.rstrip(b"\0") + bytes(-len(whole.rstrip(b"\0")) % 512) + info.tobuf(tarfile.GNU_FORMAT))
    with memory_limit(GIB):
        values, failed = everything(open_items(path))
    assert (
        values == [0, 1] and failed["big"] == "declares 1000000000000 bytes, but the tar ends 0 bytes after its header"
    )


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_an_extended_header_without_end(tmp_path: Path, memory_limit: Limit, kind: bytes) -> None:
    info = tarfile.TarInfo("x.png")
    info.type, info.size = kind, 2**39
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    with memory_limit(GIB), pytest.raises(NotMeasuredError, match="an extended tar header declares 549755813888 bytes"):
        everything(open_items(tmp_path / "a.tar"))


def test_a_size_below_zero_in_an_extended_header_is_not_believed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("x.png")
        info.pax_headers = {"size": "-512"}
        tar.addfile(info)
    assert [member.size for member in members(tmp_path / "a.tar")] == [0]


def test_an_array_that_declares_more_than_it_holds(tmp_path: Path, memory_limit: Limit) -> None:
    content = npy(np.zeros(3)).replace(b"(3,), }" + b" " * 12, b"(3000000000000,), }")
    path = write_tar(tmp_path / "a.tar", [("a.npy", content), ("b.npy", npy(np.ones(3)))])
    with memory_limit(GIB):
        values, failed = everything(open_items(path))
    assert values == [1] and "declares [3000000000000] of float64, which is more than the 24 bytes held" in failed["a"]


@pytest.mark.parametrize("side", [10_000, 14_000])
def test_image_bombs(tmp_path: Path, memory_limit: Limit, side: int) -> None:
    bomb = png_of_size(tmp_path / "bomb.png", side, side).read_bytes()
    with memory_limit(GIB // 4):
        values, failed = everything(
            open_items(write_tar(tmp_path / "a/a.tar", [("a.png", bomb), ("b.png", picture(3))]))
        )
    assert values == [3] and "too large to be decoded safely" in failed["a"]


def test_duplicates_and_missing_partners(tmp_path: Path) -> None:
    found = [*samples(3), ("0001.png", picture(9)), ("5.cls", b"1"), ("6.png", picture(1)), ("6.png", picture(2))]
    items = open_items(write_tar(tmp_path / "a.tar", found))
    values, failed = everything(items)
    assert values == [0, 1, 2]
    assert failed == {
        "0001": "this key occurs a second time in the tar",
        "5": "has no .png, only .cls",
        "6": "has two members .png",
    }


def test_a_cut_shard_and_a_damaged_header(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", samples(4), tarfile.USTAR_FORMAT)
    whole = path.read_bytes()
    offset = list(members(path))[6].offset
    path.write_bytes(whole[: offset + 20])
    values, failed = everything(open_items(path))
    assert values == [0, 1, 2] and "but the tar ends 20 bytes after its header" in failed["0003"]
    path.write_bytes(whole[: offset - 512] + b"\xff" * 1024 + whole[offset + 512 :])
    values, failed = everything(open_items(path))
    assert values == [0, 1, 2] and "damaged tar header" in failed[f"byte {offset - 512}"]


def test_a_shard_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", samples(2))
    items = open_items(path)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(UnreadableItemError, match="shorter than it was"):
        items.read(1)
    path.unlink()
    with pytest.raises(UnreadableItemError, match="No such file"):
        items.read(1)


def test_compressed_shards_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(write_tar(tmp_path / "b/a.tar", samples(2)).read_bytes()))
    with pytest.raises(UsageError, match="unpack it with gunzip"):
        open_items(tmp_path / "a.tar.gz")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=12))
def test_damage_anywhere_is_contained(tmp_path: Path, at: int, noise: bytes) -> None:
    path = write_tar(tmp_path / "hit.tar", samples(3))
    content = bytearray(path.read_bytes())
    at %= len(content)
    content[at : at + len(noise)] = noise
    path.write_bytes(content)
    try:
        everything(open_items(path))
    except CollapsecheckError as error:
        assert str(error)
