"""What the moments of an optimiser say about the last gradients; all of its numbers are read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collapsecheck.checkpoints.optimisers import Id, StoredOptimiser, names_of
from collapsecheck.checkpoints.plain_values import number
from collapsecheck.checkpoints.stored import StoredTensor

if TYPE_CHECKING:
    import torch

_CHUNK = 1 << 20  # elements that are in memory at once, in float64

# What other kinds than Adam call their running means of the gradient, and of its square.
_FIRST = ("exp_avg", "momentum_buffer", "grad_avg")
_SECOND = ("exp_avg_sq", "square_avg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """The moments of one parameter. Ranges are [0, ∞); None where it is not kept or not a finite number.

    `gradient_rms` is √mean(exp_avg_sq), the root mean square of the recent gradients, over elements and steps;
    `mean_gradient_rms` that of `exp_avg`. Both are corrected for their start at zero, as Adam does it (Kingma and Ba
    2015, section 3), where the settings allow. A parameter whose `exp_avg_sq` is 0 everywhere (`always_zero`) was given
    gradients that were exactly zero, at every step: a healthy parameter never is. `zero_share` is the share of such
    elements. `relative_update` is the root mean square of the step that Adam would make next if the gradient were
    `exp_avg`, over that of the weights, for parameters whose `name` is known; around 1e-3 is usual while a model
    learns. `finite` is False where NaN or Inf is among the numbers.
    """

    parameter: Id
    name: str | None
    elements: int
    mean_gradient_rms: float | None
    gradient_rms: float | None
    always_zero: bool | None
    zero_share: float | None
    relative_update: float | None
    finite: bool


def read_moments(stored: StoredOptimiser, weights: Mapping[str, Any]) -> tuple[Moments, ...]:
    """Summarise the moments of every parameter that has any; sums are in float64, chunk by chunk.

    Parameters
    ----------
    stored
        The optimiser.
    weights
        The tensors of the model by name.

    Raises
    ------
    NotLoadableError
        If the file changed or cannot be read any more.
    """
    names = names_of(stored, weights)
    found = []
    for group, ids in zip(stored.groups, stored.ids, strict=True):
        for one in ids:
            entry = stored.state.get(one, {})
            name = names.get(one)
            moments = _moments(one, name, entry, group, weights.get(name) if name is not None else None)
            if moments is not None:
                found.append(moments)
    return tuple(found)


def _moments(
    one: Id, name: str | None, entry: Mapping[Any, Any], group: Mapping[Any, Any], weight: Any
) -> Moments | None:
    first = next((held for key in _FIRST if isinstance(held := entry.get(key), StoredTensor)), None)
    second = next((held for key in _SECOND if isinstance(held := entry.get(key), StoredTensor)), None)
    if first is None and second is None:
        return None
    if first is not None and second is not None and first.shape != second.shape:
        return None
    either = second if second is not None else first
    if (
        either is None
        or not either.numel
        or not all(held is None or held.is_floating_point for held in (first, second))
    ):
        return None
    sums = _Sums(group, number(entry.get("step")))
    fitting = isinstance(weight, StoredTensor) and weight.shape == either.shape and weight.is_floating_point
    for m, v, w in chunks(first, second, weight if fitting else None):
        sums.add(m, v, w)
    n = either.numel
    return Moments(
        parameter=one,
        name=name,
        elements=n,
        mean_gradient_rms=_root(sums.first / n, sums.start_first) if first is not None else None,
        gradient_rms=_root(sums.second / n, sums.start_second**0.5) if second is not None else None,
        always_zero=sums.zeros == n if second is not None else None,
        zero_share=sums.zeros / n if second is not None else None,
        relative_update=sums.relative_update(),
        finite=math.isfinite(sums.first) and math.isfinite(sums.second),
    )


class _Sums:
    """Sums over the elements of one parameter."""

    def __init__(self, group: Mapping[Any, Any], step: float | None) -> None:
        self.first = self.second = self.update = self.weight = 0.0
        self.zeros = 0
        self._seen_weights = False
        betas = group.get("betas")
        pair = betas if isinstance(betas, list | tuple) and len(betas) == 2 else (None, None)
        self._rate, self._eps = number(group.get("lr")), number(group.get("eps"))
        self._betas = [number(beta) for beta in pair]
        self._step = step
        self.start_first, self.start_second = map(self._start, self._betas)

    def _start(self, beta: float | None) -> float:
        """Return 1 - β^t: by so much a running mean that began at zero is too small. 1 where it is not known."""
        if beta is None or not self._step or self._step < 0 or not 0 <= beta < 1:
            return 1.0
        return 1 - math.pow(beta, self._step)

    def add(self, m: torch.Tensor | None, v: torch.Tensor | None, w: torch.Tensor | None) -> None:
        if m is not None:
            self.first += float(m.square().sum())
        if v is not None:
            self.second += float(v.sum())
            self.zeros += int((v == 0).sum())
        if m is not None and v is not None and w is not None and (step := self._adam(m, v)) is not None:
            self._seen_weights = True
            self.update += float(step.square().sum())
            self.weight += float(w.square().sum())

    def _adam(self, m: torch.Tensor, v: torch.Tensor) -> torch.Tensor | None:
        """Return the step of Adam (Kingma and Ba 2015) without weight decay, None if a setting is missing."""
        if None in self._betas or self._rate is None or self._eps is None or self._eps < 0 or not self._step:
            return None
        moved: torch.Tensor = self._rate * (m / self.start_first) / ((v / self.start_second).sqrt() + self._eps)
        return moved.nan_to_num(nan=0.0)  # 0 / 0: no gradient, no step

    def relative_update(self) -> float | None:
        if not self._seen_weights or not self.weight:
            return None
        return _root(self.update / self.weight)


def chunks(*stored: StoredTensor | None) -> Iterator[list[torch.Tensor | None]]:
    """Yield the same elements of each tensor, in float64."""
    flat = [None if held is None else held.tensor().reshape(-1) for held in stored]
    size = next(len(one) for one in flat if one is not None)
    for start in range(0, size, _CHUNK):
        yield [None if one is None else one[start : start + _CHUNK].double() for one in flat]


def _root(value: float, start: float = 1.0) -> float | None:
    return math.sqrt(value) / start if math.isfinite(value) and value >= 0 and start > 0 else None
