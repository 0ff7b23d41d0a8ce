"""A module that lets onnxruntime do the work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from collapsecheck.checkpoints.onnx import OnnxModel, Port
from collapsecheck.errors import NotMeasuredError, printable
from collapsecheck.models.onnx.points import Step
from collapsecheck.models.onnx.ports import Inputs
from collapsecheck.models.onnx.session import Sessions
from collapsecheck.models.taps import TappedModule

GROUP_BYTES = 512 * 2**20  # of values that are held at a time when many steps are listened to
_FEW = 8  # steps that are computed at once without a look at their sizes

Feeds = Mapping[str, Tensor]


class OnnxModule(TappedModule):
    """Takes a batch `[n, …]`, or a mapping of the graph's inputs by name, and returns its output.

    Of several outputs it returns a dict by name. Images come as `[n, c, h, w]`, whatever order the graph wants. Where
    the graph takes a fixed number of items, the batch is cut and the last part filled up; the filling is taken off
    again. The results have the type in which they were computed, and there are no gradients.
    """

    def __init__(self, model: OnnxModel, steps: Sequence[Step], inputs: Inputs, sessions: Sessions) -> None:
        super().__init__(step.point for step in steps)
        self._steps = {step.point.name: step for step in reversed(steps)}
        self._inputs = inputs
        self._sessions = sessions
        self._outputs = tuple(port.name for port in model.outputs)
        self._sizes: dict[str, int] = {}

    def forward(self, batch: Tensor | Mapping[str, Tensor] | None = None, **named: Tensor) -> Any:
        """Run the graph; steps that have hooks are computed, and heard, too."""
        feeds = self._feeds(batch, named)
        device = next(iter(feeds.values())).device
        heard = [self._steps[name] for name in self.heard()]
        cuda = device.type == "cuda"
        values = [value for step in heard for value in (step.given, step.returned) if value and value not in feeds]
        session = self._sessions.prepare(values, cuda=cuda)
        results: dict[str, Tensor] = {}
        for group in self._groups(heard, feeds, session):
            wanted = dict.fromkeys(v for step in group for v in (step.given, step.returned) if v and v not in feeds)
            wanted |= dict.fromkeys(self._outputs if (group and group[-1] is heard[-1]) or not heard else ())
            results = {name: one.to(device) for name, one in self._run(session, feeds, list(wanted)).items()}
            for step in group:
                given = feeds.get(step.given, results.get(step.given))
                self.tell(step.point.name, given, results[step.returned])
        outputs = {name: results[name] for name in self._outputs}
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    def _feeds(self, batch: Tensor | Mapping[str, Tensor] | None, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
        main = self._inputs.main
        if isinstance(batch, Tensor):
            given = {main.name: batch, **named}
        else:
            given = {**(batch or {}), **named}
        known = {port.name for port in self._inputs.ports}
        if main.name not in given:
            shown = ", ".join(printable(name, 60) for name in known)
            raise NotMeasuredError(f"takes {shown}; the batch has {', '.join(map(printable, given)) or 'nothing'}")
        feeds = {}
        for port in self._inputs.ports:
            tensor = given.get(port.name)
            tensor = filled_in(port.name, given[main.name]) if tensor is None else tensor
            if port is main and self._inputs.channels_last:
                tensor = channels_last(tensor, port)
            feeds[port.name] = as_type(tensor, port)
        return feeds

    def _groups(self, heard: Sequence[Step], feeds: Feeds, session: Any) -> Iterator[Sequence[Step]]:
        """Yield the steps in groups whose values fit into memory at a time."""
        if len(heard) <= _FEW:
            yield heard
            return
        items = len(feeds[self._inputs.main.name])
        values = dict.fromkeys(v for step in heard for v in (step.given, step.returned) if v and v not in feeds)
        if not values.keys() <= self._sizes.keys():
            one = {name: tensor[:1] for name, tensor in feeds.items()}
            self._sizes |= {name: tensor.nbytes for name, tensor in self._run(session, one, list(values)).items()}
        group: list[Step] = []
        held: set[str] = set()
        for step in heard:
            more = {v for v in (step.given, step.returned) if v in values} - held
            if group and items * sum(self._sizes[v] for v in held | more) > GROUP_BYTES:
                yield group
                group, held = [], set()
            group.append(step)
            held |= more
        yield group

    def _run(self, session: Any, feeds: Feeds, wanted: Sequence[str]) -> dict[str, Tensor]:
        fixed, items = self._inputs.batch, len(feeds[self._inputs.main.name])
        if fixed is None or fixed == items:
            return self._sessions.run(session, _arrays(feeds), wanted)
        parts = []
        for start in range(0, items, fixed):
            rows = torch.arange(start, start + fixed).clamp(max=items - 1)  # the last item again, where there are none
            parts.append(self._sessions.run(session, _arrays({n: t.cpu()[rows] for n, t in feeds.items()}), wanted))
        return {name: _joined([part[name] for part in parts], fixed, items) for name in wanted}


def filled_in(name: str, main: Tensor) -> Tensor:
    """Make what models of texts take beside token ids `[n, t]`: for texts that are neither padded nor paired.

    Raises
    ------
    NotMeasuredError
        If the input is none of these.
    """
    if main.ndim == 2 and not main.is_floating_point():
        if name == "attention_mask":
            return torch.ones_like(main)
        if name == "token_type_ids":
            return torch.zeros_like(main)
        if name == "position_ids":
            return torch.arange(main.shape[1], device=main.device).expand_as(main)
    raise NotMeasuredError(
        f"also takes {printable(name, 60)}, which the data do not have; "
        "give a --dataset or --transform that makes dicts of all inputs"
    )


def channels_last(tensor: Tensor, port: Port) -> Tensor:
    """Turn images `[n, c, h, w]` to `[n, h, w, c]`, unless they are so already."""
    depth = port.shape[3] if port.shape else None
    turned = tensor.ndim == 4 and tensor.shape[1] == depth
    return tensor.permute(0, 2, 3, 1) if turned else tensor


def as_type(tensor: Tensor, port: Port) -> Tensor:
    """Convert a batch to the type that the graph declares.

    Raises
    ------
    NotMeasuredError
        If the graph looks up token ids, and the batch holds fractions.
    """
    wanted: torch.dtype = getattr(torch, port.dtype)
    if tensor.is_floating_point() and wanted in (torch.int64, torch.int32, torch.bool):
        raise NotMeasuredError(
            f"takes whole numbers ({port.dtype}) as {printable(port.name, 60)}, such as token ids, the data are "
            "fractions; save them as int64"
        )
    if tensor.is_floating_point() and not wanted.is_floating_point:
        limits = torch.iinfo(wanted)
        tensor = tensor.nan_to_num().round().clamp(limits.min, limits.max)
    return tensor.to(wanted)


def _arrays(feeds: Feeds) -> dict[str, NDArray[Any]]:
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in feeds.items()}


def _joined(parts: Sequence[Tensor], fixed: int, items: int) -> Tensor:
    """Put together what came of several batches of a fixed number of items; the filling is taken off."""
    first = parts[0]
    if not first.ndim or any(part.shape != first.shape for part in parts):
        return first
    if first.ndim == 3 and first.shape[0] != fixed and first.shape[1] == fixed:  # sequence first
        return torch.cat(list(parts), 1)[:, :items]
    if first.shape[0] % fixed:  # not one row for each item: no part of it belongs to one
        return first
    return torch.cat(list(parts))[: items * (first.shape[0] // fixed)]
