from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

from collapsecheck.errors import NotMeasuredError, UsageError
from collapsecheck.models.readout import out_of_memory
from collapsecheck.observe import Observations
from collapsecheck.observe.forward import Forward, choose_device, extract

from ..statistics.clouds import gaussian

CPU = torch.device("cpu")

EXHAUSTED = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    RuntimeError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
]


@dataclass
class Reader:
    """A linear model that has room for `room` rows at a time."""

    room: int = 10**9
    error: BaseException = field(default_factory=lambda: torch.OutOfMemoryError("CUDA out of memory"))
    weight: Tensor = field(default_factory=lambda: torch.from_numpy(gaussian(4, 3)).float())
    lengths: list[int] = field(default_factory=list)
    is_attached: bool = False

    @contextmanager
    def attached(self) -> Iterator[None]:
        self.is_attached = True
        try:
            yield
        finally:
            self.is_attached = False

    def __call__(self, batch: Tensor) -> Tensor:
        assert torch.is_inference_mode_enabled()
        self.lengths.append(len(batch))
        if len(batch) > self.room:
            raise self.error
        return batch @ self.weight


@dataclass
class Batch:
    indices: Tensor
    inputs: Tensor
    labels: Tensor | None = None


def batches(n: int = 50, size: int = 16, labels: bool = True) -> list[Batch]:
    rows = torch.from_numpy(gaussian(n, 4)).float()
    index = torch.arange(n)
    return [
        Batch(index[i : i + size], rows[i : i + size], index[i : i + size] % 3 if labels else None)
        for i in range(0, n, size)
    ]


@pytest.mark.parametrize("error", EXHAUSTED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("room", [1, 3, 5, 16, 100])
def test_every_row_comes_once_and_in_order_though_memory_runs_out(error: BaseException, room: int) -> None:
    reader = Reader(room, error)
    forward = Forward(reader, CPU)
    inputs = torch.from_numpy(gaussian(37, 4)).float()
    for _ in range(2):
        torch.testing.assert_close(forward(inputs), inputs @ reader.weight, rtol=0, atol=1e-6)
    lengths = reader.lengths[len(reader.lengths) // 2 :]
    assert max(lengths) <= max(room, 1)  # what worked is kept: the second batch does not run out again


def test_portions_are_halved() -> None:
    reader = Reader(room=5)
    Forward(reader, CPU)(torch.zeros(40, 4))
    assert reader.lengths == [40, 20, 10, *[5] * 8]


@pytest.mark.parametrize("error", EXHAUSTED, ids=lambda error: type(error).__name__)
def test_not_even_one_item_fits(error: BaseException) -> None:
    with pytest.raises(NotMeasuredError, match="even for a single item") as caught:
        Forward(Reader(0, error), CPU)(torch.zeros(8, 4))
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [ValueError("bad shape"), RuntimeError("mat1 and mat2 shapes cannot be multiplied")])
def test_other_errors_pass_through_at_once(error: BaseException) -> None:
    reader = Reader(0, error)
    with pytest.raises(type(error)) as caught:
        Forward(reader, CPU)(torch.zeros(8, 4))
    assert caught.value is error and reader.lengths == [8]
    assert not out_of_memory(error)


def test_extract_hands_on_rows_indices_labels_and_inputs() -> None:
    reader, done = Reader(room=5), []
    summary, inputs = extract(Forward(reader, CPU), batches(), advance=done.append)
    assert done == [16, 16, 16, 2] and not reader.is_attached
    order = np.argsort(summary.sample["index"])
    rows = gaussian(50, 4).astype(np.float32)
    assert summary.sample["index"][order].tolist() == list(range(50))
    assert summary.sample["labels"][order].tolist() == [i % 3 for i in range(50)]
    np.testing.assert_allclose(summary.sample["rows"][order], rows @ reader.weight.numpy(), atol=1e-6)
    assert inputs.measurements()["distinct_inputs"].value == 50 and summary.dtype == "float32"
    found = Observations(embeddings=summary, inputs=inputs).measurements
    assert found["rows"].value == 50 and "neighbour_accuracy" in found and "input_mean_cosine" in found


def test_memory_running_out_changes_no_number() -> None:
    plenty, _ = extract(Forward(Reader(), CPU), batches(labels=False))
    little, _ = extract(Forward(Reader(room=3), CPU), batches(size=50, labels=False))
    first, second = (Observations(embeddings=summary).measurements for summary in (plenty, little))
    assert first.keys() == second.keys()
    for name, found in first.items():
        np.testing.assert_allclose(found.value, second[name].value, rtol=1e-5, err_msg=name)
    assert "labels" not in plenty.sample.columns


def test_nothing_readable_is_not_measured() -> None:
    reader = Reader()
    with pytest.raises(NotMeasuredError, match="not a single item"):
        extract(Forward(reader, CPU), [])
    assert not reader.is_attached


def test_the_reader_is_detached_after_an_error() -> None:
    reader = Reader(0, ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        extract(Forward(reader, CPU), batches())
    assert not reader.is_attached


@pytest.mark.parametrize(
    ("precision", "dtype", "embeddings"),
    [("fp32", "float32", torch.float32), ("bf16", "bfloat16", torch.bfloat16), ("fp16", "float16", torch.float16)],
)
def test_precision_sets_the_dtype_and_the_rounding_floor(precision: str, dtype: str, embeddings: torch.dtype) -> None:
    forward = Forward(Reader(), CPU, precision)
    assert forward(batches()[0].inputs).dtype == embeddings
    summary, _ = extract(forward, batches())
    assert summary.dtype == dtype
    assert forward.dtype_of(torch.zeros(1)) == dtype  # a float32 head does not bring back what autocast lost
    assert summary.rows == 50
    full, _ = extract(Forward(Reader(), CPU), batches())
    measured, exact = (Observations(embeddings=s).measurements["mean_cosine"].value for s in (summary, full))
    np.testing.assert_allclose(measured, exact, atol=0.02)


def test_half_precision_models_need_no_autocast() -> None:
    reader = Reader(weight=torch.ones(4, 3, dtype=torch.bfloat16))
    inputs = [Batch(b.indices, b.inputs.bfloat16().float(), None) for b in batches()]
    reader_call = Forward(reader, CPU, "bf16")
    assert extract(reader_call, inputs)[0].dtype == "bfloat16"


def test_auto_takes_the_best_device_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for cuda, mps, want in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=cuda: there)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda there=mps: there)
        assert choose_device("auto").type == want
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize("name", ["toaster", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_there_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match=f"--device {name} is not usable here") as caught:
        choose_device(name)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_on_a_gpu_the_numbers_are_the_same_and_real_memory_errors_are_survived() -> None:
    device = torch.device("cuda")
    weight = torch.from_numpy(gaussian(4, 3)).float()
    on_gpu, _ = extract(Forward(Reader(weight=weight.to(device)), device), batches())
    on_cpu, _ = extract(Forward(Reader(weight=weight), CPU), batches())
    first, second = (Observations(embeddings=summary).measurements for summary in (on_gpu, on_cpu))
    for name, found in first.items():
        np.testing.assert_allclose(found.value, second[name].value, rtol=1e-3, err_msg=name)

    class Greedy(Reader):
        def __call__(self, batch: Tensor) -> Tensor:
            free, _ = torch.cuda.mem_get_info()
            torch.empty(free // 8 * len(batch), dtype=torch.uint8, device=device)  # fits for 7 rows, not for 16
            return batch @ self.weight

    got = Forward(Greedy(weight=weight.to(device)), device)(batches()[0].inputs)
    torch.testing.assert_close(got.cpu(), batches()[0].inputs @ weight, rtol=1e-3, atol=1e-3)
