"""What the weights tell before anything runs: whether they are numbers, and whether anybody has trained them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFacts:
    """`non_finite` names the parameters that hold NaN or Inf.

    `untrained` says whether (nearly) all weights are distributed as their layers draw them at the start; None where
    there was nothing to test.
    """

    non_finite: tuple[str, ...] = ()
    untrained: bool | None = None


def weight_facts(module: nn.Module) -> WeightFacts:
    """Look at all parameters once.

    Buffers may hold infinities by design, as masks of attention do. The sum of finite float32 numbers in float64 is
    finite, so that it tells.
    """
    import torch  # checks read these facts without it

    from collapsecheck.models.freshness import looks_untrained

    broken = [
        name
        for name, one in module.named_parameters()
        if one.is_floating_point() and not torch.nn.parameter.is_lazy(one)
        if not bool(torch.isfinite(one.detach().sum(dtype=torch.float64)))
    ]
    return WeightFacts(non_finite=tuple(broken), untrained=None if broken else looks_untrained(module))
