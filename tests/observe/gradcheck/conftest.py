"""A probe of a model and some rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from collapsecheck.models.readout import Readout
from collapsecheck.observe.gradcheck import GradientCheck, gradient_checks
from collapsecheck.observe.probe import Probe, ProbeBatch

Checked = Callable[..., tuple[GradientCheck, ...]]


def probe_of(model: nn.Module, inputs: Any) -> Probe:
    count = len(inputs if isinstance(inputs, Tensor) else next(iter(inputs.values())))
    batch = ProbeBatch(inputs=inputs, indices=torch.arange(count))
    return Probe(readout=Readout(model, reason=""), batches=[batch], device=torch.device("cpu"))


@pytest.fixture
def checked() -> Checked:
    def check(model: nn.Module, inputs: Any = None, which: str = "custom") -> tuple[GradientCheck, ...]:
        rows = torch.randn(20, 16, generator=torch.Generator().manual_seed(1)) if inputs is None else inputs
        found = gradient_checks(probe_of(model, rows), which)
        assert found is not None
        return found

    return check
