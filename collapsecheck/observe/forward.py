"""One forward pass over all batches: on any device, in any precision, and never out of memory for good."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from collapsecheck.datasets.inputs import Inputs, count, each, main, mask_of, part
from collapsecheck.errors import NotMeasuredError, UsageError
from collapsecheck.models.readout import out_of_memory
from collapsecheck.observe.inputs import InputSummary
from collapsecheck.observe.layers import LayerRecorder
from collapsecheck.observe.summary import EmbeddingSummary
from collapsecheck.statistics.spread import EPSILON

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class EmbeddingReader(Protocol):
    """What `models.readout.Readout` offers: a batch in, embeddings [n, D] out, while attached."""

    def attached(self) -> AbstractContextManager[Any]:
        """Put hooks in place, and remove them at the end."""

    def __call__(self, batch: Inputs, /) -> Tensor:
        """Embeddings [n, D] of a batch."""


class InputBatch(Protocol):
    """What `datasets.Batches` yields."""

    @property
    def indices(self) -> Tensor:
        """Item numbers [n]."""

    @property
    def inputs(self) -> Inputs:
        """What the model gets [n, ...]: a tensor, or several by name."""

    @property
    def labels(self) -> Tensor | None:
        """Class numbers [n]."""


def choose_device(name: str) -> torch.device:
    """`auto` takes CUDA, then MPS, then the CPU; anything else must exist."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {name} is not usable here: {str(error).splitlines()[0]}") from error
    return device


class Forward:
    """Runs a model over batches in portions that fit into memory.

    When a portion does not fit, its length is halved and the same rows are tried again: no row is lost or
    repeated, and later batches start with the length that worked.
    """

    def __init__(
        self,
        reader: EmbeddingReader,
        device: torch.device,
        precision: str = "fp32",
        recorder: LayerRecorder | None = None,
    ) -> None:
        self.reader = reader
        self.recorder = recorder  # listens to what happens in depth, while there is one
        self.device = device
        self.precision = precision
        self.portion: int | None = None  # rows at a time; None: the whole batch

    def __call__(self, inputs: Inputs) -> Tensor:
        """Embeddings [n, D] of a batch, on the device."""
        rows: list[Tensor] = []
        start, items = 0, count(inputs)
        while start < items:
            length = min(self.portion or items, items - start)
            try:
                rows.append(self._run(part(inputs, slice(start, start + length))))
                start += length
            except Exception as error:  # out of memory has no type of its own on all devices
                if not out_of_memory(error):
                    raise
                if length == 1:
                    raise NotMeasuredError(
                        f"out of memory on {self.device} even for a single item; "
                        "try --device cpu, --precision bf16 or a smaller --size"
                    ) from error
                self.portion = length // 2
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    def placed(self, inputs: Inputs) -> Inputs:
        """A batch on the CUDA device, so that it is copied there once; as it is if there is no room, or no CUDA."""
        if self.device.type != "cuda":
            return inputs
        try:
            return self._moved(inputs)
        except Exception as error:  # out of memory has no type of its own on all devices
            if not out_of_memory(error):
                raise
            return inputs

    def _moved(self, inputs: Inputs) -> Inputs:
        return each(inputs, lambda tensor: tensor.to(self.device, non_blocking=True))

    def _run(self, inputs: Inputs) -> Tensor:
        cast = (
            torch.autocast(self.device.type, dtype=AUTOCAST[self.precision])
            if self.precision in AUTOCAST
            else nullcontext()
        )
        listening: AbstractContextManager[Any] = nullcontext()
        if self.recorder is not None:
            listening = self.recorder.attached(count(inputs), sequences=mask_of(inputs) is not None)
        with torch.inference_mode(), cast, listening:
            return self.reader(self._moved(inputs))

    def dtype_of(self, rows: Tensor) -> str:
        """The coarsest dtype the embeddings went through: it sets the rounding floor."""
        names = [str(rows.dtype).removeprefix("torch.")]
        if self.precision in AUTOCAST:
            names.append(str(AUTOCAST[self.precision]).removeprefix("torch."))
        return max(names, key=lambda name: EPSILON.get(name, 0.0))


def extract(
    forward: Forward,
    batches: Iterable[InputBatch],
    *,
    seed: int = 0,
    advance: Callable[[int], None] = lambda rows: None,
) -> tuple[EmbeddingSummary, InputSummary]:
    """Sums over all embeddings and inputs, in one pass.

    Parameters
    ----------
    advance : called with the number of rows done, after each batch.

    Raises
    ------
    NotMeasuredError
        When there is not a single readable item.
    """
    summary: EmbeddingSummary | None = None
    inputs = InputSummary(seed=seed)
    with forward.reader.attached():
        for batch in batches:
            indices = batch.indices.numpy()
            placed = forward.placed(batch.inputs)
            rows = forward(placed)
            if summary is None:
                summary = EmbeddingSummary(rows.shape[1], seed=seed)
                summary.dtype = forward.dtype_of(rows)
            # On CUDA sums and hashes are formed on the device; MPS has no float64.
            there = main(placed)
            inputs.update(there if there.device.type == "cuda" else main(batch.inputs).numpy(), indices)
            rows = rows if rows.device.type == "cuda" else rows.cpu()
            labels = None if batch.labels is None else batch.labels.numpy()
            summary.update(rows if rows.device.type == "cuda" else _numpy(rows), indices, labels)
            advance(len(indices))
    if summary is None:
        raise NotMeasuredError("not a single item could be read: nothing was measured")
    summary.flush()
    return summary, inputs


def _numpy(rows: Tensor) -> Any:
    return (rows if rows.dtype.itemsize >= 4 else rows.float()).numpy()
