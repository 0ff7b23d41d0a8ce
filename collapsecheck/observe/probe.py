"""A bounded sample of the items, and the model they go through: what experiments are made on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from collapsecheck.models.readout import Readout
from collapsecheck.models.reduction import select
from collapsecheck.observe import NotObservable, Observations, observe_arrays
from collapsecheck.observe.forward import Forward, InputBatch, extract
from collapsecheck.observe.layers import Layer, LayerRecorder, unit_axis

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
        inputs = (
            {name: value[rows] for name, value in self.inputs.items()}
            if isinstance(self.inputs, dict)
            else self.inputs[rows]
        )
        labels = None if self.labels is None else self.labels[rows]
        return ProbeBatch(inputs=inputs, indices=self.indices[rows], labels=labels)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Items, a model, and where its embedding is read.

    Nothing here changes the model or the items: experiments are made on `copy()` and come back through `on`, `fed`,
    `read_at` or `turned`, each of which is another probe.

    Parameters
    ----------
    turn : applied to the embeddings [n, D] afterwards, in float64.
    """

    readout: Readout
    batches: Sequence[ProbeBatch]
    device: torch.device
    precision: str = "fp32"
    seed: int = 0
    turn: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None

    @property
    def module(self) -> nn.Module:
        """The model."""
        return self.readout.module

    def copy(self) -> nn.Module:
        """A copy of the model whose layers can be replaced; its tensors are shared: put new ones in their place."""
        held = {id(tensor): tensor for tensor in (*self.module.parameters(), *self.module.buffers())}
        return copy.deepcopy(self.module, held)

    def on(self, module: nn.Module) -> Probe:
        """The same items through another model of the same layers."""
        return replace(self, readout=self.readout.on(module))

    def on_items(self, other: Probe) -> Probe:
        """The same model and readout on the items of another probe."""
        return replace(self, batches=other.batches)

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> Probe:
        """Other parameters or buffers, by their dotted names, in a copy of the model."""
        module = self.copy()
        for name, tensor in tensors.items():
            path, _, attribute = name.rpartition(".")
            part = module.get_submodule(path)
            if attribute in part._parameters:
                part._parameters[attribute] = nn.Parameter(tensor, requires_grad=False)
            else:
                part._buffers[attribute] = tensor
        return self.on(module)

    def with_modules(self, modules: Mapping[str, nn.Module]) -> Probe:
        """Other modules in place of some, by name, in a copy of the model."""
        module = self.copy()
        for name, new in modules.items():
            path, _, attribute = name.rpartition(".")
            setattr(module.get_submodule(path), attribute, new)
        return self.on(module)

    def fed(self, change: Callable[[Tensor], Tensor]) -> Probe:
        """Other inputs: each batch's tensor goes through `change`; only for inputs that are one tensor."""
        return replace(self, batches=[replace(batch, inputs=change(batch.inputs)) for batch in self.batches])

    def read_at(self, layer: str, where: Literal["input", "output"] = "output") -> Probe:
        """The embedding taken elsewhere."""
        return replace(self, readout=self.readout.on(self.module, layer=layer, where=where))

    def turned(self, turn: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Probe:
        """The embeddings changed afterwards."""
        return replace(self, turn=turn)

    def halves(self) -> tuple[Probe, Probe]:
        """Two halves of the items: one to find with, the other to confirm on; single items go to each in turn."""
        cuts = [(batch, (len(batch.indices) + place % 2) // 2) for place, batch in enumerate(self.batches)]
        first = [batch.part(slice(0, cut)) for batch, cut in cuts if cut]
        second = [batch.part(slice(cut, None)) for batch, cut in cuts if cut < len(batch.indices)]
        return replace(self, batches=first), replace(self, batches=second)

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
        self.module.to(self.device)
        embeddings, inputs = extract(Forward(self.readout, self.device, self.precision), self.batches, seed=self.seed)
        if self.turn is None:
            return Observations(embeddings=embeddings, inputs=inputs, items=self.items, jackknifed=False)
        rows = self.embeddings
        labels = [batch.labels for batch in self.batches if batch.labels is not None]
        seen = observe_arrays(
            self.turn(rows),
            labels=torch.cat(labels).numpy() if len(labels) == len(self.batches) and labels else None,
            dtype=embeddings.dtype,
            seed=self.seed,
        )
        return replace(seen, inputs=inputs, jackknifed=False)

    @cached_property
    def embeddings(self) -> NDArray[np.float64]:
        """The embeddings themselves [n, D], before `turn`."""
        forward = Forward(self.readout, self.device, self.precision)
        with self.readout.attached():
            return np.concatenate([forward(batch.inputs).double().cpu().numpy() for batch in self.batches])

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """What happens in depth, on these items."""
        recorder = LayerRecorder(self.module, seed=self.seed)
        forward = Forward(self.readout, self.device, self.precision, recorder)
        with self.readout.attached():
            for batch in self.batches:
                forward(batch.inputs)
        return recorder.layers()

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
            size = _bytes_of(batch.inputs)
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


def _bytes_of(inputs: Any) -> int:
    tensors = inputs.values() if isinstance(inputs, Mapping) else [inputs]
    return sum(tensor.nbytes for tensor in tensors)


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
    new = copy.copy(module)
    new._parameters = {**module._parameters, "bias": nn.Parameter(bias, requires_grad=False)}
    return new


def weight_of(module: nn.Module) -> Tensor:
    """The weight of a layer, detached."""
    weight = module._parameters.get("weight")
    if weight is None:
        raise NotObservable(f"{type(module).__name__} has no weight of its own")
    return weight.detach()
