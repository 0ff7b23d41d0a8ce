"""What happens in depth: a bounded sample of what goes into, and comes out of, each step of a model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from collapsecheck.observe.trace import Site, Trace
from collapsecheck.statistics import spectrum
from collapsecheck.statistics.cosine import mean_cosine
from collapsecheck.statistics.moments import Array, moments_of
from collapsecheck.statistics.spread import relative_spread

# Of each output so many numbers per item are kept, of so many positions (pixels, tokens) at most.
COORDINATES = 128
POSITIONS = 4
RANKED_ITEMS = 128  # a spectrum of more rows costs more than it tells here

# Functions that count their units along the last axis, and along the first one after the items.
_LAST = frozenset(("linear", "layer_norm", "rms_norm", "embedding", "scaled_dot_product_attention"))
_FIRST = frozenset(("conv1d", "conv2d", "conv3d", "batch_norm", "group_norm", "instance_norm"))
# Where modules note how many units they give.
_WIDTHS = ("out_channels", "num_features", "num_channels", "out_features", "embedding_dim", "embed_dim")


@dataclass(kw_only=True)
class Flow:
    """Sampled numbers of the items at one place: `values` [n, u, p] of u units (channels) at p positions.

    `units` [u] are the numbers of these units. Everything is computed once, when first asked for; NaN where it is
    not defined.
    """

    values: Array
    units: NDArray[np.intp]

    @property
    def rows(self) -> Array:
        """One row per item [n, u·p]."""
        return self.values.reshape(len(self.values), -1)

    @cached_property
    def finite(self) -> bool:
        """Whether all numbers are finite."""
        return bool(np.isfinite(self.values).all())

    @cached_property
    def rms(self) -> float:
        """Root mean square of the numbers, ≥ 0."""
        return float(np.sqrt(np.square(self.values).mean())) if self.finite else math.nan

    @cached_property
    def relative_spread(self) -> float:
        """Relative spread of the items, in [0, 1]; 0 where all are equal."""
        return relative_spread(moments_of(self.rows, second_order=False)) if self.finite else math.nan

    @cached_property
    def mean_cosine(self) -> float:
        """Mean cosine over all pairs of items, in [−1, 1]; zero rows have no direction and are left out."""
        if not self.finite:
            return math.nan
        rows = self.rows
        norms = np.sqrt(np.square(rows).sum(1))
        alive = norms > 0
        return (
            mean_cosine(moments_of(rows[alive] / norms[alive, None], second_order=False)) if alive.any() else math.nan
        )

    @cached_property
    def effective_rank(self) -> float:
        """Effective rank of the centred rows, at most the number of coordinates and of items less one."""
        if not self.finite or len(self.rows) < 3:
            return math.nan
        return spectrum.effective_rank(spectrum.eigenvalues_of_rows(self.rows[:RANKED_ITEMS]))

    @cached_property
    def distinct_share(self) -> float:
        """Number of distinct rows over the number of rows, in (0, 1]."""
        return len(np.unique(self.rows, axis=0)) / len(self.rows) if len(self.rows) else math.nan

    @cached_property
    def position_spread(self) -> float:
        """Relative spread of the positions within an item, on average; NaN for a single position."""
        if not self.finite or self.values.shape[2] < 2:
            return math.nan
        centre = self.values.mean(2, keepdims=True)
        around = np.square(self.values - centre).sum((1, 2)) / (self.values.shape[2] - 1)
        length = np.square(centre[:, :, 0]).sum(1)
        whole = around + length
        return float(np.sqrt(np.where(whole > 0, around / np.where(whole > 0, whole, 1.0), 0.0).mean()))

    @cached_property
    def firing(self) -> Array:
        """Share of items and positions in which each of the units is above zero [u]."""
        return np.asarray((self.values > 0).mean((0, 2)))

    @property
    def rectified(self) -> bool:
        """Whether nothing is below zero and something is exactly zero, as after a ReLU."""
        return bool((self.values >= 0).all() and (self.values == 0).any())

    @property
    def constant_units(self) -> float:
        """Share of the units that give one number for all items and positions, in [0, 1]."""
        return float((self.values.max((0, 2)) == self.values.min((0, 2))).mean())


@dataclass(kw_only=True)
class Layer:
    """One step: `depth` counts steps in the order of execution; `shape` is that of one item's output.

    `units` is the number of units (channels, dimensions) it has, `before` what came in (None for containers and steps
    without a tensor), `after` what went out. `parameters` are the names of those that a function was called with.
    """

    site: Site
    depth: int
    shape: tuple[int, ...]
    units: int
    before: Flow | None
    after: Flow
    parameters: tuple[str, ...] = ()

    @property
    def gain(self) -> float:
        """Root mean square that goes out over that which came in; NaN without an input, or of zeros."""
        return self.after.rms / self.before.rms if self.before is not None and self.before.rms > 0 else math.nan


_Sample = tuple[Tensor, NDArray[np.intp]]  # [n, u, p] and the numbers of the units [u]


@dataclass
class _Kept:
    depth: int
    shape: tuple[int, ...]
    axis: int  # which one of the output's axes counts the units
    before: list[_Sample | None] = field(default_factory=list)
    after: list[_Sample] = field(default_factory=list)


class LayerRecorder:
    """Listens to forward passes over a probe sample and keeps a little of everything (see `Flow`, `Layer`).

    Memory: about 512 KiB per step for 512 items, on the device of the model. Cost: two gathers per step.

    Attributes
    ----------
    unseen
        Sites that cannot be looked at, with the reason.
    """

    def __init__(self, model: nn.Module, *, seed: int = 0) -> None:
        self.unseen: dict[Site, str] = {}
        self.items = 0
        self._trace = Trace(model, self)
        self._seed = seed
        self._kept: dict[Site, _Kept] = {}
        self._heard: list[tuple[Site, _Sample, _Sample | None]] = []
        self._chosen: dict[tuple[tuple[int, ...], int], tuple[tuple[Tensor, ...], NDArray[np.intp]]] = {}
        self._axes: dict[tuple[int, ...], int] = {}
        self._modules = dict(model.named_modules())
        self._sequences = False
        self._batch = 0

    @contextmanager
    def attached(self, items: int, *, sequences: bool = False) -> Iterator[LayerRecorder]:
        """Listen to the forward pass of a batch of so many items; what fails half-way leaves nothing behind.

        Parameters
        ----------
        sequences
            Whether the items are padded sequences: of these only the first positions surely belong to the item.
        """
        self._batch, self._sequences, self._heard = items, sequences, []
        try:
            with self._trace.attached():
                yield self
            for site, after, before in self._heard:
                self._kept[site].after.append(after)
                self._kept[site].before.append(before)
            self.items += items
        finally:
            self._heard = []

    def before(self, tensor: Tensor) -> _Sample | None:
        """Sample what goes into a step (see `Listener`)."""
        rows = self._rows(tensor)
        return None if rows is None else self._sampled(rows, self._axes.get(tuple(rows.shape[1:])))

    def after(self, site: Site, tensor: Tensor, before: _Sample | None) -> None:
        """Sample what comes out of a step (see `Listener`)."""
        rows = self._rows(tensor)
        if rows is None:
            self.unseen[site] = f"its output, of shape {list(tensor.shape)}, has not one row of numbers per item"
            return
        axis = self._axis(site, rows)
        kept = self._kept.setdefault(site, _Kept(len(self._kept), tuple(rows.shape[1:]), axis))
        if len(kept.shape) != rows.ndim - 1 or kept.shape[axis - 1] != rows.shape[axis]:
            self.unseen[site] = "its output has another shape in each batch"
            return
        self._heard.append((site, self._sampled(rows, axis), before))

    def layers(self) -> tuple[Layer, ...]:
        """All steps that were seen, in the order of execution."""
        return tuple(
            Layer(
                site=site,
                depth=kept.depth,
                shape=kept.shape,
                units=kept.shape[kept.axis - 1],
                before=_flow(kept.before),
                after=_flow(kept.after) or _EMPTY,
                parameters=self._trace.parameters.get(site, ()),
            )
            for site, kept in self._kept.items()
            if site not in self.unseen and sum(len(one) for one, _ in kept.after) == self.items
        )

    def _rows(self, tensor: Tensor) -> Tensor | None:
        """The tensor with the items in front, [n, …]; None if that cannot be had."""
        usual = tensor.layout == torch.strided and tensor.is_floating_point() and not tensor.is_nested
        if not usual or tensor.ndim < 2 or not tensor.numel():
            return None
        if len(tensor) == self._batch:
            return tensor
        if tensor.ndim == 3 and tensor.shape[1] == self._batch:  # sequence first
            return tensor.transpose(0, 1)
        if len(tensor) % self._batch == 0:  # windows of an image, one after another
            return tensor.reshape(self._batch, len(tensor) // self._batch, *tensor.shape[1:])
        return None

    def _axis(self, site: Site, rows: Tensor) -> int:
        """Which axis counts the units; steps that do not tell are like the last one of the same shape."""
        if site in self._kept:
            return self._kept[site].axis
        shape, last = tuple(rows.shape[1:]), rows.ndim - 1
        if site.function:
            axes = {last} if site.function in _LAST else {1} if site.function in _FIRST else set()
        else:
            units = _width(self._modules.get(site.layer))
            axes = {axis for axis in (1, last) if rows.shape[axis] == units}
        if len(axes) == 1:
            self._axes[shape] = axes.pop()
        return self._axes.setdefault(shape, last if rows.ndim == 3 else 1)

    def _sampled(self, rows: Tensor, axis: int | None) -> _Sample:
        """A copy [n, u, p] of some units at some positions, the same in every batch."""
        shape = tuple(rows.shape[1:])
        if axis is None:
            axis = rows.ndim - 1 if rows.ndim == 3 else 1
        if (shape, axis) not in self._chosen:
            units, *chosen = _choose(shape, axis, self._seed, first=self._sequences and rows.ndim == 3)
            self._chosen[shape, axis] = tuple(torch.from_numpy(one).to(rows.device) for one in chosen), units
        indices, units = self._chosen[shape, axis]
        sampled = rows.detach()[(slice(None), *indices)]  # type: ignore[index]  # tensors are indices too
        return sampled.unsqueeze(2) if rows.ndim == 2 else sampled, units


def unit_axis(module: nn.Module, output: Tensor) -> int:
    """Which axis of a layer's input or output counts its units."""
    width = _width(module)
    axes = [axis for axis in (output.ndim - 1, 1) if output.shape[axis] == width]
    return axes[0] if len(set(axes)) == 1 else output.ndim - 1 if output.ndim in (2, 3) else 1


def _width(module: nn.Module | None) -> int | None:
    """How many units a module says it gives."""
    shape = getattr(module, "normalized_shape", None)
    widths = (shape[-1] if shape else None, *(getattr(module, name, None) for name in _WIDTHS))
    return next((width for width in widths if isinstance(width, int)), None)


def _choose(shape: tuple[int, ...], axis: int, seed: int, *, first: bool) -> list[NDArray[np.intp]]:
    """Numbers of u units, and indices of these × p positions into one item; with `first`, of the first positions."""
    random = np.random.default_rng(seed)
    sides = [size for place, size in enumerate(shape, 1) if place != axis]
    count = math.prod(sides)
    if first:
        positions = np.arange(POSITIONS) % count
    else:
        positions = np.sort(random.choice(count, min(count, POSITIONS), replace=False))
    width = shape[axis - 1]
    units = np.sort(random.choice(width, min(width, COORDINATES // len(positions)), replace=False))
    if not sides:
        return [units, units]
    indices = [one[None, :] for one in np.unravel_index(positions, sides)]
    indices.insert(axis - 1, units[:, None])
    return [units, *indices]


def _flow(parts: Sequence[_Sample | None]) -> Flow | None:
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts) or len({one.shape[1:] for one, _ in known}) > 1:
        return None
    return Flow(values=torch.cat([one for one, _ in known]).double().cpu().numpy(), units=known[0][1])


_EMPTY = Flow(values=np.zeros((0, 0, 0)), units=np.zeros(0, np.intp))
