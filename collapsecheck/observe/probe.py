"""A bounded sample of the items, and the model they go through: what experiments are made on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from collapsecheck.datasets.inputs import Inputs, nbytes
from collapsecheck.datasets.inputs import part as part_of
from collapsecheck.models.readout import Readout
from collapsecheck.models.reduction import select
from collapsecheck.observe import NotObservable, Observations, observe_arrays
from collapsecheck.observe.forward import Forward, InputBatch, extract
from collapsecheck.observe.layers import Layer, LayerRecorder, unit_axis
from collapsecheck.observe.trace import Site, Trace
from collapsecheck.observe.weights import Weight, computed, plain
from collapsecheck.user_code import in_one_line

PROBE_ITEMS = 512
PROBE_BYTES = 512 * 2**20  # of inputs kept in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeBatch:
    """A batch kept on the CPU: the model's inputs as they are given to it, item numbers [n], labels [n] or None."""

    inputs: Any
    indices: Tensor
    labels: Tensor | None = None

    def part(self, rows: slice) -> ProbeBatch:
        """Some of the items."""
        labels = None if self.labels is None else self.labels[rows]
        return ProbeBatch(inputs=part_of(self.inputs, rows), indices=self.indices[rows], labels=labels)


@dataclass(slots=True)
class Tally:
    """Counts the items that went through the model, however it was changed."""

    items: int = 0


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Items, a model, and where its embedding is read.

    Nothing here changes the model or the items: experiments are made on `copy()` and come back through `on`, `fed`,
    `read_at` or `turned`, each of which is another probe.

    Parameters
    ----------
    turn : applied afterwards to the embeddings [n, D] of `base`, in float64.
    tally : counts what all probes that come of this one cost.
    """

    readout: Readout
    batches: Sequence[ProbeBatch]
    device: torch.device
    precision: str = "fp32"
    seed: int = 0
    turn: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None
    base: Probe | None = None
    tally: Tally = field(default_factory=Tally, compare=False)

    @property
    def passes(self) -> float:
        """Forward passes over the items of this probe that experiments have cost so far."""
        return self.tally.items / max(self.items, 1)

    @property
    def module(self) -> nn.Module:
        """The model."""
        return self.readout.module

    def copy(self) -> nn.Module:
        """A copy of the model whose layers can be replaced; its tensors are shared: put new ones in their place."""
        held = {id(tensor): tensor for tensor in (*self.module.parameters(), *self.module.buffers())}
        try:
            return copy.deepcopy(self.module, held)
        except Exception as error:  # a module may hold locks, files, generators
            raise NotObservable(f"the model cannot be copied: {in_one_line(error)}") from error

    def on(self, module: nn.Module) -> Probe:
        """The same items through another model of the same layers."""
        return self._with(readout=self.readout.on(module))

    def on_items(self, other: Probe) -> Probe:
        """The same model and readout on the items of another probe."""
        return self._with(batches=other.batches)

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> Probe:
        """Other parameters or buffers, by their dotted names, in a copy of the model."""
        module = self.copy()
        for name, tensor in tensors.items():
            path, _, attribute = name.rpartition(".")
            part = module.get_submodule(path)
            if computed(part) and path:
                part = plain(part)
                above, _, last = path.rpartition(".")
                setattr(module.get_submodule(above), last, part)
            # Through the module, since recurrent layers keep a list of their tensors besides.
            is_buffer = attribute in part._buffers
            setattr(part, attribute, tensor if is_buffer else nn.Parameter(tensor, requires_grad=False))
        return self.on(module)

    def in_full_precision(self) -> Probe:
        """The same in float32: without autocast, and with every tensor of half precision widened."""
        halves = (torch.float16, torch.bfloat16)
        held = (*self.module.named_parameters(), *self.module.named_buffers())
        wide = {name: tensor.detach().float() for name, tensor in held if tensor.dtype in halves}
        return (self.with_tensors(wide) if wide else self)._with(precision="fp32")

    def with_modules(self, modules: Mapping[str, nn.Module]) -> Probe:
        """Other modules in place of some, by name, in a copy of the model."""
        module = self.copy()
        for name, new in modules.items():
            path, _, attribute = name.rpartition(".")
            setattr(module.get_submodule(path), attribute, new)
        return self.on(module)

    def fed(self, change: Callable[[Tensor], Tensor]) -> Probe:
        """Other inputs: each batch's tensor goes through `change`; only for inputs that are one tensor."""
        return self._with(batches=[replace(batch, inputs=_changed(batch.inputs, change)) for batch in self.batches])

    def fed_with(self, inputs: Sequence[Any]) -> Probe:
        """Other inputs of the same items, batch by batch."""
        return self._with(batches=[replace(one, inputs=new) for one, new in zip(self.batches, inputs, strict=True)])

    def read_at(self, layer: str, where: Literal["input", "output"] = "output") -> Probe:
        """The embedding taken elsewhere."""
        return self._with(readout=self.readout.on(self.module, layer=layer, where=where))

    def turned(self, turn: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Probe:
        """The embeddings changed afterwards."""
        return replace(self, turn=turn, base=self)

    def first(self, count: int) -> Probe:
        """The first items, of the first batch only."""
        return self._with(batches=[batch.part(slice(0, count)) for batch in self.batches[:1]])

    def unpadded(self, padding: int) -> Probe:
        """The same token ids [n, t], each without the padding at its end: items of one length make a batch."""
        whole = self.batches
        ids = [row for batch in whole for row in batch.inputs]
        indices = torch.cat([batch.indices for batch in whole])
        labels = [batch.labels for batch in whole if batch.labels is not None]
        together = torch.cat(labels) if len(labels) == len(whole) else None
        lengths = torch.stack([length_of(row, padding) for row in ids])
        made = []
        for length in sorted(set(lengths.tolist())):
            chosen = (lengths == length).nonzero()[:, 0]
            made.append(
                ProbeBatch(
                    inputs=torch.stack([ids[one][:length] for one in chosen.tolist()]),
                    indices=indices[chosen],
                    labels=None if together is None else together[chosen],
                )
            )
        return self._with(batches=made)

    def only(self, batch: ProbeBatch) -> Probe:
        """The items of one batch."""
        return self._with(batches=[batch])

    def in_pairs(self) -> Probe:
        """The same items two by two."""
        return self._with(
            batches=[
                batch.part(slice(start, start + 2))
                for batch in self.batches
                for start in range(0, len(batch.indices), 2)
            ]
        )

    def afresh(self) -> Probe:
        """The same again, with nothing computed yet."""
        return replace(self)

    @property
    def rows_dtype(self) -> str:
        """The coarsest type of number that the model computes with, as far as it is known."""
        floats = [one for one in self.module.parameters() if one.is_floating_point()]
        held = str(floats[0].dtype).removeprefix("torch.") if floats else "float32"
        return {"bf16": "bfloat16", "fp16": "float16"}.get(self.precision, held)

    def halves(self) -> tuple[Probe, Probe]:
        """Two halves of the items: one to find with, the other to confirm on."""
        cuts = [(batch, len(batch.indices) // 2) for batch in self.batches]
        first = [batch.part(slice(0, cut)) for batch, cut in cuts if cut]
        second = [batch.part(slice(cut, None)) for batch, cut in cuts]
        return self._with(batches=first), self._with(batches=second)

    def _with(self, **changes: Any) -> Probe:
        return replace(self, **changes, base=self.base and self.base._with(**changes))

    @property
    def items(self) -> int:
        """Number of items."""
        return sum(len(batch.indices) for batch in self.batches)

    @property
    def takes_tensors(self) -> bool:
        """Whether the inputs are floating-point tensors, which can be scaled and replaced."""
        return all(isinstance(batch.inputs, Tensor) and batch.inputs.is_floating_point() for batch in self.batches)

    @cached_property
    def seen(self) -> Observations:
        """Everything that checks ask about, of these items; computed once."""
        if self.turn is None or self.base is None:
            self.module.to(self.device)
            self.tally.items += self.items
            forward = Forward(self.readout, self.device, self.precision)
            embeddings, inputs = extract(forward, self.batches, seed=self.seed)
            return Observations(embeddings=embeddings, inputs=inputs, items=self.items, jackknifed=False)
        labels = [batch.labels for batch in self.batches if batch.labels is not None]
        seen = observe_arrays(
            self.turn(self.base.embeddings),
            labels=torch.cat(labels).numpy() if len(labels) == len(self.batches) and labels else None,
            dtype=self.base.seen.embeddings.dtype,
            seed=self.seed,
        )
        return replace(seen, inputs=self.base.seen.inputs, jackknifed=False)

    @cached_property
    def embeddings(self) -> NDArray[np.float64]:
        """The embeddings themselves [n, D], before `turn`."""
        self.tally.items += self.items
        forward = Forward(self.readout, self.device, self.precision)
        with self.readout.attached():
            return np.concatenate([forward(batch.inputs).double().cpu().numpy() for batch in self.batches])

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """What happens in depth, on these items."""
        self.tally.items += self.items
        recorder = LayerRecorder(self.module, seed=self.seed)
        forward = Forward(self.readout, self.device, self.precision, recorder)
        with self.readout.attached():
            for batch in self.batches:
                forward(batch.inputs)
        return recorder.layers()

    @cached_property
    def non_finite(self) -> frozenset[Site]:
        """Steps that give NaN or Inf anywhere, for any item; samples of the layers may miss a single number."""
        listener = _NonFinite()
        forward = Forward(self.readout, self.device, self.precision)
        with self.readout.attached(), Trace(self.module, listener).attached():
            for batch in self.batches:
                forward(batch.inputs)
        return frozenset(listener.found)

    def units_of(self, layer: str, where: Literal["input", "output"] = "output") -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of every unit of a layer [u], over all items and positions."""
        sums: list[Tensor] = []

        def take(tensor: Tensor) -> None:
            axis = unit_axis(part, tensor)
            rows = tensor.detach().movedim(axis, -1).flatten(0, -2).double()
            sums.append(torch.stack([torch.full_like(rows[0], len(rows)), rows.sum(0), rows.square().sum(0)]))

        part = self.module.get_submodule(layer)
        if where == "input":
            handle: Any = part.register_forward_pre_hook(lambda _, args: take(args[0]))
        else:
            handle = part.register_forward_hook(lambda _, __, output: take(select(output)[0]))
        try:
            _ = replace(self, turn=None).embeddings
        finally:
            handle.remove()
        count, total, squares = torch.stack(sums).sum(0)
        mean = total / count
        return mean, (squares / count - mean.square()).clamp(min=0).sqrt()


class _NonFinite:
    """Hears which steps give something else than finite numbers."""

    def __init__(self) -> None:
        self.found: set[Site] = set()

    def before(self, _: Tensor) -> None:
        """Nothing is kept of what goes in."""

    def after(self, site: Site, tensor: Tensor, _: Any) -> None:
        """Look at all of it."""
        if not bool(torch.isfinite(tensor).all()):
            self.found.add(site)


class ProbeTaker:
    """Keeps the first batches of a pass as a probe, and listens to what happens in depth while they run.

    The first items must be a random sample of all (`datasets.Batches(first=…)`).
    """

    def __init__(self, forward: Forward, readout: Readout, *, seed: int = 0) -> None:
        self._forward, self._readout, self._seed = forward, readout, seed
        self._recorder = LayerRecorder(readout.module, seed=seed)
        self._kept: list[ProbeBatch] = []
        self._items = self._bytes = 0

    def through(self, batches: Iterable[InputBatch]) -> Iterator[InputBatch]:
        """The same batches, of which the first are kept."""
        for batch in batches:
            size = nbytes(batch.inputs)
            room = self._items < PROBE_ITEMS and (not self._kept or self._bytes + size <= PROBE_BYTES)
            self._forward.recorder = self._recorder if room else None
            if room:
                self._kept.append(ProbeBatch(inputs=batch.inputs, indices=batch.indices, labels=batch.labels))
                self._items += len(batch.indices)
                self._bytes += size
            yield batch
        self._forward.recorder = None

    def probe(self) -> Probe:
        """What was kept."""
        return Probe(
            readout=self._readout,
            batches=self._kept,
            device=self._forward.device,
            precision=self._forward.precision,
            seed=self._seed,
        )

    def layers(self) -> tuple[Layer, ...]:
        """What happened in depth."""
        return self._recorder.layers()


def length_of(ids: Tensor, padding: int) -> Tensor:
    """Number of token ids [t] before the padding at their end, at least 1."""
    told = (ids != padding).nonzero()
    return told[-1, 0] + 1 if len(told) else torch.ones((), dtype=torch.long)


def _changed(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Tensor:
    if not isinstance(inputs, Tensor):
        raise NotObservable("the model takes several tensors, of which none alone is the input")
    return change(inputs)


def redrawn(probe: Probe, weights: Sequence[Weight]) -> Probe:
    """The probe with some matrices of weights drawn anew; biases stay."""
    tensors: dict[str, Tensor] = {}
    for seed, weight in enumerate(weights):
        given = replace(weight, tensor=tensors.get(weight.name, weight.tensor))
        tensors |= given.renewed(seed)
    return probe.with_tensors(tensors)


def renewed(module: nn.Module, seed: int = 0) -> nn.Module | None:
    """A copy of one layer as its class would initialise it; None where it has no way to do that."""
    reset = getattr(module, "reset_parameters", None)
    if reset is None:
        return None
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        fresh = copy.deepcopy(module).cpu()
        fresh.reset_parameters()  # type: ignore[operator]
    return fresh.to(next(module.parameters()).device)


def with_bias(module: nn.Module, bias: Tensor) -> nn.Module:
    """A copy of a layer with another bias, or with one if it has none; its weight is shared."""
    new = plain(module)
    new._parameters = {**new._parameters, "bias": nn.Parameter(bias, requires_grad=False)}
    return new


def weight_of(module: nn.Module) -> Tensor:
    """The weight of a layer, detached."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor):
        raise NotObservable(f"{type(module).__name__} has no weight of its own")
    return weight.detach()
