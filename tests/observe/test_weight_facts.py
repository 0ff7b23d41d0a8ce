from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision import models

from collapsecheck.observe.weight_facts import weight_facts
from sample_models import architectures
from sample_models.working import working


@pytest.mark.parametrize("name", ["resnet18", "vit_b_32", "convnext_tiny", "mobilenet_v3_small"])
@pytest.mark.parametrize("seed", [0, 5])
def test_what_nobody_trained(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert weight_facts(models.get_model(name, weights=None)).untrained is True


@pytest.mark.parametrize(
    "build", [architectures.plain, architectures.perceptron, architectures.residual, architectures.transformer]
)
def test_what_was_trained(build) -> None:  # type: ignore[no-untyped-def]
    facts = weight_facts(working(build, 0))
    assert (facts.untrained, facts.non_finite) == (False, ())


def test_a_random_head_on_a_trained_encoder_is_trained() -> None:
    assert weight_facts(nn.Sequential(working(architectures.plain, 0), nn.Linear(64, 64))).untrained is False


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_named(value: float) -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
    module[1].weight.data[1, 3] = value
    assert weight_facts(module).non_finite == ("1.weight",)


def test_sums_that_would_overflow_are_numbers_and_masks_may_be_infinite() -> None:
    module = nn.Linear(64, 64)
    module.weight.data.fill_(torch.finfo(torch.float32).max)
    module.register_buffer("mask", torch.full((4,), -torch.inf))
    assert weight_facts(module).non_finite == ()


def test_nothing_to_test() -> None:
    assert weight_facts(nn.Flatten()).untrained is None
    assert weight_facts(nn.Linear(4, 2)).untrained is None  # too few numbers to tell
    assert weight_facts(nn.LazyLinear(4)).untrained is None
