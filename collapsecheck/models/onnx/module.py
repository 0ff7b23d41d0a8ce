"""A module that lets onnxruntime do the work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from collapsecheck.checkpoints.onnx import OnnxModel
from collapsecheck.models.onnx.feeds import feeds_from
from collapsecheck.models.onnx.points import Step
from collapsecheck.models.onnx.ports import Inputs
from collapsecheck.models.onnx.session import Sessions
from collapsecheck.models.taps import TappedModule

GROUP_BYTES = 512 * 2**20  # of values that are held at a time when many steps are listened to
_FEW = 8  # steps that are computed at once without a look at their sizes

Arrays = Mapping[str, NDArray[Any]]


class OnnxModule(TappedModule):
    """Takes a batch `[n, …]`, or a mapping of the graph's inputs by name, and returns its output.

    Of several outputs it returns a dict by name. Images come as `[n, c, h, w]`, whatever order the graph wants. Where
    the graph takes a fixed number of items, the batch is cut and the last part filled up; the filling is taken off
    again. The results have the type in which they were computed, and there are no gradients.
    """

    def __init__(self, model: OnnxModel, steps: Sequence[Step], inputs: Inputs, sessions: Sessions) -> None:
        super().__init__(point for step in steps for point in (step.point, *step.around))
        self._steps = tuple(steps)
        self._inputs = inputs
        self._sessions = sessions
        self._outputs = tuple(port.name for port in model.outputs)
        self._sizes: dict[str, int] = {}

    def forward(self, batch: Tensor | Mapping[str, Tensor] | None = None, **named: Tensor) -> Any:
        """Run the graph; steps that have hooks are computed, and heard, too.

        What is done to the numbers here is done by NumPy: whoever listens must not take it for steps of the model.
        """
        main = self._inputs.main.name
        given = {main: batch, **named} if isinstance(batch, Tensor) else {**(batch or {}), **named}
        feeds = feeds_from(given, self._inputs)
        device = given[main].device
        names = set(self.heard())
        heard = [step for step in self._steps if not names.isdisjoint(p.name for p in (step.point, *step.around))]
        values = {value for step in heard for value in _values(step)}
        session = self._sessions.prepare(values - feeds.keys(), cuda=device.type == "cuda")
        results: dict[str, Tensor] = {}
        for group, last in self._groups(heard, feeds, session):
            wanted = dict.fromkeys(value for step in group for value in _values(step))
            wanted |= dict.fromkeys(self._outputs if last else ())
            found = {name: feeds[name] for name in wanted if name in feeds}
            found |= self._run(session, feeds, [name for name in wanted if name not in feeds])
            results = {name: torch.from_numpy(array).to(device) for name, array in found.items()}
            for step in group:
                self._tell_step(step, results.get(step.given), results[step.returned])
        outputs = {name: results[name] for name in self._outputs}
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    def _tell_step(self, step: Step, given: Tensor | None, returned: Tensor) -> None:
        """Tell a step and the layers that it ends, from outside: they return what it returns."""

        def within() -> None:
            self.tell(step.point.name, given, returned)

        tell = within
        for point in step.around:
            tell = partial(self.tell, point.name, None, returned, tell)
        tell()

    def _groups(self, heard: Sequence[Step], feeds: Arrays, session: Any) -> Iterator[tuple[Sequence[Step], bool]]:
        """Yield the steps in groups whose values fit into memory at a time, and whether a group is the last."""
        if len(heard) <= _FEW:
            yield heard, True
            return
        items = len(feeds[self._inputs.main.name])
        values = {value for step in heard for value in _values(step)} | set(self._outputs)
        unknown = values - self._sizes.keys() - feeds.keys()
        if unknown:
            one = {name: array[:1] for name, array in feeds.items()}
            self._sizes |= {name: array.nbytes for name, array in self._run(session, one, sorted(unknown)).items()}
        group: list[Step] = []
        held: set[str] = set()
        for step in heard:
            more = set(_values(step)) - held
            if group and items * sum(self._sizes.get(value, 0) for value in held | more) > GROUP_BYTES:
                yield group, False
                group, held, more = [], set(), set(_values(step))
            group.append(step)
            held |= more
        yield group, True

    def _run(self, session: Any, feeds: Arrays, wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
        fixed, items = self._inputs.batch, len(feeds[self._inputs.main.name])
        if fixed is None or fixed == items:
            return self._sessions.run(session, feeds, wanted)
        parts = []
        for start in range(0, items, fixed):
            rows = np.arange(start, start + fixed).clip(max=items - 1)  # the last item again, where there are no more
            parts.append(self._sessions.run(session, {name: array[rows] for name, array in feeds.items()}, wanted))
        return {name: _joined([part[name] for part in parts], fixed, items) for name in wanted}


def _values(step: Step) -> tuple[str, ...]:
    return (step.given, step.returned) if step.given else (step.returned,)


def _joined(parts: Sequence[NDArray[Any]], fixed: int, items: int) -> NDArray[Any]:
    """Put together what came of several batches of a fixed number of items; the filling is taken off."""
    first = parts[0]
    if not first.ndim or any(part.shape != first.shape for part in parts):
        return first
    if first.ndim == 3 and first.shape[0] != fixed and first.shape[1] == fixed:  # sequence first
        return np.concatenate(parts, 1)[:, :items]
    if first.shape[0] % fixed:  # not one row for each item: no part of it belongs to one
        return first
    return np.concatenate(parts)[: items * (first.shape[0] // fixed)]
