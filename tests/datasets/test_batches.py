from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from collapsecheck.datasets import Batches, TransformOptions, choose_preprocessing, open_items
from collapsecheck.datasets.batches import FEW_ITEMS
from collapsecheck.errors import NotMeasuredError, UsageError

from .conftest import Paint, model_input

WITH_AND_WITHOUT_WORKERS = pytest.mark.parametrize("workers", [0, 2])


def batches(path: Path, options: TransformOptions | None = None, channels: int | None = None, **given: Any) -> Batches:
    items = open_items(path)
    chosen = choose_preprocessing(items, model_input(channels=channels), options or TransformOptions())
    return Batches(items, chosen, **given)


@WITH_AND_WITHOUT_WORKERS
def test_items_come_in_order_with_their_labels(tmp_path: Path, paint: Paint, workers: int) -> None:
    for i in range(7):
        paint(f"{'ab'[i % 2]}/{i}.png")
    loader = batches(tmp_path, batch_size=3, workers=workers)
    seen = list(loader)
    assert [len(batch.indices) for batch in seen] == [3, 3, 1] and len(loader) == 7
    assert torch.cat([batch.indices for batch in seen]).tolist() == list(range(7))
    assert torch.cat([batch.labels for batch in seen if batch.labels is not None]).tolist() == [0] * 4 + [1] * 3
    for batch in seen:
        assert batch.indices.dtype == torch.int64 and batch.inputs.shape[1:] == (3, 6, 8)
        for item, tensor in zip(batch.indices.tolist(), batch.inputs, strict=True):
            assert torch.equal(tensor, loader.preprocessing.item(loader.items.read(item)))
    assert (loader.seen, loader.used, loader.unreadable) == (7, 7, [])


@WITH_AND_WITHOUT_WORKERS
def test_unreadable_items_are_skipped_counted_and_named(tmp_path: Path, paint: Paint, workers: int) -> None:
    for i in range(8):
        paint(f"{i}.png", size=(40, 40))
    (tmp_path / "1.png").write_bytes(b"")
    for i in (4, 5):  # a whole batch
        (tmp_path / f"{i}.png").write_bytes((tmp_path / f"{i}.png").read_bytes()[:300])
    loader = batches(tmp_path, batch_size=2, workers=workers)
    for _ in range(2):  # a second pass counts afresh
        seen = [batch.indices.tolist() for batch in loader]
        assert seen == [[0], [2, 3], [6, 7]]
        assert (loader.seen, loader.used) == (8, 5)
        assert [name for name, _ in loader.unreadable] == ["1.png", "4.png", "5.png"]
        assert loader.unreadable[0][1] == "the file is empty"
        assert loader.unreadable[1][1].startswith("cannot be decoded")


@WITH_AND_WITHOUT_WORKERS
def test_nothing_readable_cannot_be_measured(tmp_path: Path, workers: int) -> None:
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(b"")
    loader = batches(tmp_path, workers=workers)
    with pytest.raises(NotMeasuredError, match=r"not one of 3 items can be read; the first, 0\.png: the file is empty"):
        list(loader)
    assert len(loader.unreadable) == 3


@WITH_AND_WITHOUT_WORKERS
@pytest.mark.parametrize("batch_size", [2, 4])  # the odd one in a batch of its own, and beside others
def test_images_of_unequal_size_need_an_option(tmp_path: Path, paint: Paint, workers: int, batch_size: int) -> None:
    for i in range(4):
        paint(f"{i}.png", size=(8, 6) if i < 2 else (9, 6))
    message = r"images differ in size: 0\.png has 8×6 pixels, 2\.png has 9×6; give them one with --size N"
    loader = batches(tmp_path, workers=workers, batch_size=batch_size)
    with pytest.raises(UsageError, match=message) as caught:
        list(loader)
    assert str(caught.value).count("\n") == 0 and loader.unreadable == []
    resized = list(batches(tmp_path, TransformOptions(size=5), workers=workers, batch_size=batch_size))
    assert all(batch.inputs.shape[1:] == (3, 5, 5) for batch in resized)


def test_max_samples_is_stratified_and_independent_of_workers_and_batches(tmp_path: Path, paint: Paint) -> None:
    for i in range(16):
        paint(f"{'aaab'[i % 4]}/{i}.png", size=(2, 2))

    def chosen(**given: Any) -> list[int]:
        return [i for batch in batches(tmp_path, max_samples=8, **given) for i in batch.indices.tolist()]

    first = chosen(workers=0)
    assert first == sorted(first) == chosen(workers=2, batch_size=3)
    assert first != chosen(workers=0, seed=1)
    labels = open_items(tmp_path).labels
    assert labels is not None and np.bincount(labels[first]).tolist() == [6, 2]


@WITH_AND_WITHOUT_WORKERS
def test_a_failing_transform_is_one_line(tmp_path: Path, paint: Paint, workers: int) -> None:
    paint("a.png")
    with pytest.raises(UsageError, match=r"^a\.png: the transform failed: ZeroDivisionError: division by zero$"):
        list(batches(tmp_path, TransformOptions(transform=lambda _: 1 / 0), workers=workers, batch_size=1))  # type: ignore[arg-type,return-value]
    with pytest.raises(UsageError, match="must return a tensor or a dict of tensors, not Image"):
        batches(tmp_path, TransformOptions(transform=lambda picture: picture), workers=workers)


def test_a_transform_with_unequal_shapes(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[1], [2]]))
    loader = batches(tmp_path / "x.npy", TransformOptions(transform=lambda row: torch.ones(int(row[0]))))
    with pytest.raises(UsageError, match=r"different shapes: \[1\] of 0, \[2\] of 1"):
        list(loader)


@WITH_AND_WITHOUT_WORKERS
def test_arrays(tmp_path: Path, workers: int) -> None:
    values = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", values)
    seen = list(batches(tmp_path / "x.npy", workers=workers))
    assert [len(batch.indices) for batch in seen] == [256, 44] and seen[0].labels is None
    np.testing.assert_array_equal(torch.cat([batch.inputs for batch in seen]), values)


def test_reading_does_not_change_the_global_generator(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((3, 2)))
    before = torch.get_rng_state()
    list(batches(tmp_path / "x.npy"))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("side", "expected"), [(4, 256), (224, 27), (1000, 16)])
def test_the_automatic_batch_is_about_16_mib(tmp_path: Path, side: int, expected: int) -> None:
    Image.new("RGB", (side, side)).save(tmp_path / "b.png")
    (tmp_path / "a.png").write_bytes(b"")  # the first one that can be read counts
    assert batches(tmp_path).batch_size == expected


def test_automatic_workers(tmp_path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", np.ones((FEW_ITEMS, 2)))
    assert batches(tmp_path / "x.npy").workers == 0
    paint("a.png")
    paint("b.png")
    assert batches(tmp_path).workers == 0
    monkeypatch.setattr("collapsecheck.datasets.batches.FEW_ITEMS", 2)
    assert 1 <= batches(tmp_path).workers <= 4


@pytest.mark.parametrize("given", [{"batch_size": 0}, {"workers": -1}, {"max_samples": 0}])
def test_numbers_that_cannot_be(tmp_path: Path, paint: Paint, given: dict[str, int]) -> None:
    paint("a.png")
    with pytest.raises(UsageError, match="must be at least"):
        batches(tmp_path, **given)


def test_pinned_memory_is_asked_for_only_where_there_is_a_gpu(tmp_path: Path, paint: Paint) -> None:
    paint("a.png")
    (batch,) = batches(tmp_path, pin_memory=True)
    assert batch.inputs.is_pinned() == torch.cuda.is_available()


def test_a_pass_can_be_left_early(tmp_path: Path, paint: Paint) -> None:
    for i in range(6):
        paint(f"{i}.png")
    loader = batches(tmp_path, workers=2, batch_size=1)
    for batch in loader:
        assert batch.indices.tolist() == [0]
        break
    assert len(list(loader)) == 6


def test_more_workers_than_processors_are_no_warning(tmp_path: Path, paint: Paint) -> None:
    paint("a.png")
    paint("b.png")
    assert len(list(batches(tmp_path, workers=(os.cpu_count() or 1) + 1, batch_size=1))) == 2
