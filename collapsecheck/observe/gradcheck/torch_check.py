"""`torch.autograd.gradcheck` of an operation as a function of a few of its elements."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from collapsecheck.observe.gradcheck.call import Replay, differentiable, flat, fresh, real
from collapsecheck.observe.gradcheck.comparing import LARGE
from collapsecheck.observe.gradcheck.points import size_of, symmetric
from collapsecheck.observe.gradcheck.random_state import begin_at
from collapsecheck.user_code import in_one_line

OUTPUTS = 4  # elements of all outputs, besides a sum of all with random weights


def complaint(replay: Replay, elements: Collection[tuple[int, int]]) -> str:
    """Return what gradcheck says of it; "" where it is content.

    Inputs and outputs are brought to a size of 1, so that its step and its tolerances fit.
    """
    indices = {place: sorted(index for at, index in elements if at == place) for place in replay.here}
    indices = {place: those for place, those in indices.items() if those and not symmetric(replay.here[place])}
    if not indices:
        return ""
    places = list(indices)
    sizes = {place: float(size_of(replay.here[place])) for place in places}
    shapes: dict[str, Tensor] = {}
    wanted = OUTPUTS if sum(one.numel() for one in replay.here.values()) <= LARGE else 1

    def few(*numbers: Tensor) -> Tensor:
        begin_at(0)
        arguments = [fresh(one) for one in replay.arguments]
        for place, whole in replay.here.items():
            made = whole.detach().requires_grad_()
            if place in indices:
                change = sizes[place] * numbers[places.index(place)]
                wide = made.flatten().index_add(0, torch.tensor(indices[place], device=made.device), change)
                made = wide.view_as(made)
            is_complex = isinstance(arguments[place], Tensor) and arguments[place].is_complex()
            arguments[place] = torch.view_as_complex(made) if is_complex else made.clone()
        outputs = [
            real(one) for one in flat(replay.call.apply(*arguments)) if isinstance(one, Tensor) and differentiable(one)
        ]
        all_of = torch.cat([one.flatten().double() for one in outputs])
        all_of = torch.where(torch.isfinite(all_of), all_of, torch.zeros_like(all_of))
        if not shapes:
            generator = torch.Generator().manual_seed(2)
            size = all_of.detach().square().mean().sqrt()
            shapes["scale"] = torch.where(size > 0, 1 / size, torch.ones_like(size))
            shapes["chosen"] = torch.randperm(len(all_of), generator=generator)[:wanted].to(all_of.device)
            shapes["weights"] = torch.randn(len(all_of), generator=generator, dtype=torch.float64).to(all_of.device)
        all_of = all_of * shapes["scale"]
        return torch.cat([all_of[shapes["chosen"]], (all_of * shapes["weights"]).sum()[None]])

    start = tuple(
        torch.zeros(len(indices[place]), dtype=torch.float64, device=replay.here[place].device, requires_grad=True)
        for place in places
    )
    try:
        torch.autograd.gradcheck(
            few, start, eps=1e-6, atol=1e-5, rtol=1e-3, nondet_tol=1e-8, check_undefined_grad=False,
        )  # fmt: skip
    except Exception as error:  # GradcheckError, and whatever the operation raises
        return in_one_line(error)
    return ""
