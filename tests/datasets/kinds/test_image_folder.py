from __future__ import annotations

from pathlib import Path

import pytest

from collapsecheck.datasets import open_items
from collapsecheck.datasets.folders import class_folders

from ..conftest import Paint


def test_class_folders_give_labels_and_names_are_sorted(tmp_path: Path, paint: Paint) -> None:
    for name in ("dog/2.png", "cat/1.png", "dog/deeper/0.png", "ant/9.png"):
        paint(name)
    items = open_items(tmp_path)
    assert list(items.names) == ["ant/9.png", "cat/1.png", "dog/2.png", "dog/deeper/0.png"]
    assert items.classes == ("ant", "cat", "dog")
    assert items.labels is not None and items.labels.tolist() == [0, 1, 2, 2]


def test_a_flat_folder_has_no_labels(tmp_path: Path, paint: Paint) -> None:
    for name in ("b.png", "a.PNG", "c.JpEg", "d.pgm", "e.webp", "f.gif", "g.tiff", "h.bmp"):
        paint(name, mode="L")
    (tmp_path / "notes.txt").write_text("no image")
    items = open_items(tmp_path)
    assert list(items.names) == sorted(["b.png", "a.PNG", "c.JpEg", "d.pgm", "e.webp", "f.gif", "g.tiff", "h.bmp"])
    assert items.labels is None and items.classes == ()
    for item in range(len(items)):
        assert items.read(item).size == (8, 6)


def test_hidden_files_and_folders_are_ignored(tmp_path: Path, paint: Paint) -> None:
    for name in ("a.png", "._a.png", ".cache/b.png"):
        paint(name)
    assert list(open_items(tmp_path).names) == ["a.png"]


def test_a_single_image_is_one_item(paint: Paint) -> None:
    items = open_items(paint("a.png"))
    assert list(items.names) == ["a.png"] and items.read(0).size == (8, 6)


def test_links_to_folders_are_followed_and_circles_end(tmp_path: Path, paint: Paint) -> None:
    paint("store/1.png")
    data = tmp_path / "data"
    data.mkdir()
    (data / "cat").symlink_to(tmp_path / "store", target_is_directory=True)
    (tmp_path / "store" / "loop").symlink_to(data, target_is_directory=True)
    assert list(open_items(data).names) == ["cat/1.png"]


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["a/1", "b/2"], ["a", "b"]),
        (["1", "2"], None),
        (["images/1", "images/2"], None),
        (["images/a/1", "images/b/2"], ["a", "b"]),
        (["train/a/1", "val/b/2", "Test/a/3"], ["a", "b", "a"]),
        (["train/1", "test/2"], None),
        (["a/1", "2"], None),
        (["train/a/1", "extra/b/1"], ["train", "extra"]),
        ([], None),
    ],
)
def test_classes_are_the_outermost_folders_that_tell_images_apart(names: list[str], classes: list[str] | None) -> None:
    assert class_folders(names) == classes
