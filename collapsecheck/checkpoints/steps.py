"""The step that each parameter would take next, as the moments of Adam or SGD imply it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collapsecheck.checkpoints.moments import chunks
from collapsecheck.checkpoints.optimisers import Id, StoredOptimiser
from collapsecheck.checkpoints.plain_values import number
from collapsecheck.checkpoints.stored import StoredTensor

if TYPE_CHECKING:
    import torch

_ADAM = frozenset(("Adam", "AdamW", "Adam or AdamW", "NAdam", "Adam, fused (apex)", "FusedAdam"))
_FIRST = ("exp_avg", "momentum_buffer", "grad_avg")
_SECOND = ("exp_avg_sq", "square_avg")
# Below this, a running mean of steps that have stopped is what is left of them: .9^s after s steps.
_FORGETS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What the moments of one parameter tell; ranges are [0, ∞), None where it is not kept or not a finite number.

    `mean` and `size` are the root mean squares of the running means of gradients (of SGD's buffer), and of squared
    gradients. `silence` is how far the mean lies below the size: .2 to 1 while gradients come, less by the factor β₁
    for each step since they stopped. `zero` says that all moments are exactly zero. `step` is the root mean square of
    the next step, weight decay included, over that of the weights, and `per_rate` the same for a rate of 1; about 1e-3
    is usual while a model learns. `decay_share` is the share of weight decay in it, in [0, 1], and `half_life` the
    steps in which decay alone would halve the weights; `decay_left` is what it alone could have left of them, had the
    rate been at its largest in all steps, None for L2 in Adam. `matrix` tells what has two axes or more from biases
    and scales, which begin at zero or one.
    """

    name: str
    matrix: bool
    elements: int
    weight: float
    mean: float | None
    size: float | None
    silence: float | None
    zero: bool
    step: float | None
    per_rate: float | None
    decay_share: float | None
    half_life: float | None
    decay_left: float | None


def read_steps(
    stored: StoredOptimiser, kind: str | None, names: Mapping[Id, str], weights: Mapping[str, Any]
) -> tuple[Step, ...]:
    """Read the moments and weights of all parameters in `names`; sums are in float64, chunk by chunk.

    Raises
    ------
    NotLoadableError
        If the file changed or cannot be read any more.
    """
    found = []
    for group, ids in zip(stored.groups, stored.ids, strict=True):
        rule = _Rule.of(kind, group)
        for one in ids:
            if one in names:
                step = _step(names[one], stored.state.get(one, {}), weights[names[one]], rule)
                found += [step] if step is not None else []
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """How a group moves its parameters. `decoupled` is None where it is not known whether decay is part of it."""

    family: str  # "adam", "sgd" or "" for others, whose steps are not known
    rate: float | None
    peak: float | None
    decay: float
    decoupled: bool | None
    first: float  # decay of the running mean: β₁, or SGD's momentum
    second: float
    eps: float
    damped: float  # share of a gradient that goes into the buffer of SGD

    @classmethod
    def of(cls, kind: str | None, group: Mapping[Any, Any]) -> _Rule:
        betas = group.get("betas")
        pair = betas if isinstance(betas, list | tuple) and len(betas) == 2 else (None, None)
        first, second = (_share(beta) for beta in pair)
        eps, rate = number(group.get("eps")), number(group.get("lr"))
        family = ""
        if kind in _ADAM and first is not None and second is not None and eps is not None and eps >= 0:
            family = "adam"
        elif kind is not None and kind.startswith("SGD"):
            family, first = "sgd", _share(group.get("momentum"))
        said = group.get("decoupled_weight_decay")
        known = said if isinstance(said, bool) else (True if kind == "AdamW" else None)
        return cls(
            family=family,
            peak=peak_rate(group),
            rate=float(rate) if rate is not None and rate >= 0 else None,
            decay=max(float(number(group.get("weight_decay")) or 0.0), 0.0),
            decoupled=False if family == "sgd" or (kind == "Adam" and known is None) else known,
            first=first or 0.0,
            second=second or 0.0,
            eps=float(eps or 0.0),
            damped=1.0 - (_share(group.get("dampening")) or 0.0),
        )

    @property
    def pull(self) -> float:
        """Share of a weight that decay takes in a step at a rate of 1; for L2, once the running mean has risen."""
        return self.decay * (self.damped / (1 - self.first) if self.family == "sgd" else 1.0)


class _Sums:
    """Sums over the elements of one parameter, its moments corrected for their start at zero."""

    def __init__(self, rule: _Rule, steps: float | None) -> None:
        self._rule = rule
        self.mean = self.square = self.cross = self.weight = self.moved = self.along = 0.0
        self.zero = True
        count = steps if steps is not None and steps > 0 else None
        adam = rule.family == "adam" and count is not None
        self.start = 1 - rule.first**count if adam and count else 1.0
        self.start_square = 1 - rule.second**count if adam and count else 1.0

    def add(self, m: torch.Tensor | None, v: torch.Tensor | None, w: torch.Tensor) -> None:
        self.weight += float(w.square().sum())
        self.zero = self.zero and not any(one is not None and bool((one != 0).any()) for one in (m, v))
        if m is not None:
            m = m / self.start
            self.mean += float(m.square().sum())
            self.cross += float((m * w).sum())
        if v is not None:
            v = v / self.start_square
            self.square += float(v.sum())
        if m is None:
            return
        moved = m
        if self._rule.family == "adam" and v is not None:  # 0 / 0: no gradient, no step
            moved = (m / (v.clamp(min=0).sqrt() + self._rule.eps)).nan_to_num(nan=0.0)
        self.moved += float(moved.square().sum())
        self.along += float((moved * w).sum())


def _step(name: str, entry: Mapping[Any, Any], weight: Any, rule: _Rule) -> Step | None:
    first = next((held for key in _FIRST if isinstance(held := entry.get(key), StoredTensor)), None)
    second = next((held for key in _SECOND if isinstance(held := entry.get(key), StoredTensor)), None)
    if not isinstance(weight, StoredTensor) or not weight.numel or (first is None and second is None):
        return None
    if any(held is not None and (held.shape != weight.shape or not held.is_floating_point) for held in (first, second)):
        return None
    largest = entry.get("max_exp_avg_sq")  # AMSGrad divides by that
    divisor = largest if isinstance(largest, StoredTensor) and largest.shape == weight.shape else second
    sums = _Sums(rule, number(entry.get("step")))
    for m, v, w in chunks(first, divisor, weight):
        if w is not None:
            sums.add(m, v, w)
    n = weight.numel
    mean = _root(sums.mean / n) if first is not None else None
    size = _root(sums.square / n) if second is not None else None
    known = first is not None and (rule.family == "sgd" or (rule.family == "adam" and second is not None))
    per_rate, share = _next(sums, rule) if known else (None, None)
    halved = None
    if rule.decay and rule.rate:
        halved = _half_life(rule, math.sqrt(sums.weight / n) if math.isfinite(sums.weight) else None)
    return Step(
        name=name,
        matrix=len(weight.shape) > 1,
        elements=n,
        weight=_root(sums.weight / n) or 0.0,
        mean=mean,
        size=size,
        silence=mean / size if mean is not None and size and rule.first >= _FORGETS else None,
        zero=sums.zero,
        step=per_rate * rule.rate if per_rate is not None and rule.rate is not None else None,
        per_rate=per_rate,
        decay_share=share,
        half_life=halved,
        decay_left=_left(rule, number(entry.get("step"))),
    )


def _next(sums: _Sums, rule: _Rule) -> tuple[float | None, float | None]:
    """Return the next step over the weights, for a rate of 1, and the share of decay in it."""
    if not sums.weight or not all(map(math.isfinite, (sums.weight, sums.moved, sums.along, sums.mean, sums.cross))):
        return None, None
    if rule.decay and rule.decoupled is None:
        return None, None
    if rule.decoupled:
        square = sums.moved + rule.decay * (2 * sums.along + rule.decay * sums.weight)
        gradient, decay = math.sqrt(sums.moved), rule.decay * math.sqrt(sums.weight)
    else:  # what the moments hold is the gradient with the decay
        factor = rule.pull
        square = sums.moved
        alone = sums.mean - factor * (2 * sums.cross - factor * sums.weight)
        gradient, decay = math.sqrt(max(alone, 0.0)), factor * math.sqrt(sums.weight)
    total = gradient + decay
    return _root(max(square, 0.0) / sums.weight), decay / total if total and math.isfinite(total) else None


def _half_life(rule: _Rule, weight: float | None) -> float | None:
    if rule.decoupled is None or not rule.rate:
        return None
    if rule.family == "adam" and not rule.decoupled:  # alone, each step is as large as the rate, whatever the decay
        return weight / (2 * rule.rate) if weight is not None else None
    per_step = rule.rate * rule.pull
    return math.log(2) / per_step if per_step and rule.family else None


def _left(rule: _Rule, steps: float | None) -> float | None:
    coupled = rule.family == "adam" and not rule.decoupled
    if not rule.family or rule.peak is None or steps is None or (rule.decay and (coupled or rule.decoupled is None)):
        return None
    return math.exp(-min(max(steps, 0) * rule.peak * rule.pull, 700.0))


def peak_rate(group: Mapping[Any, Any]) -> float | None:
    """Return the largest rate that a group tells of; at the end of a schedule the last one is nearly zero."""
    found = [rate for name in ("lr", "initial_lr", "max_lr") if (rate := number(group.get(name))) is not None]
    return max((float(rate) for rate in found if rate >= 0), default=None)


def _share(value: Any) -> float | None:
    found = number(value)
    return float(found) if found is not None and 0 <= found < 1 else None


def _root(value: float) -> float | None:
    return math.sqrt(value) if math.isfinite(value) and value >= 0 else None
