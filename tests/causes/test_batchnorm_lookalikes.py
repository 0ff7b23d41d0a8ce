"""Faults that BatchNorm statistics tell apart: inputs of another scale, stale statistics, small weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tests.causes.conftest import convolutional, digits, named, scanned, trained


@pytest.fixture
def wide() -> nn.Module:
    """Works on pixels of 0 to 255."""
    net = copy.deepcopy(trained(convolutional))
    first = net.get_submodule("1")
    assert isinstance(first, nn.BatchNorm2d) and first.running_mean is not None and first.running_var is not None
    convolution = net.get_submodule("0")
    assert isinstance(convolution, nn.Conv2d) and convolution.bias is not None
    # The bias is left out of the statistics' scale, so that all units are off by the same factor.
    first.running_mean.copy_(255 * (first.running_mean - convolution.bias) + convolution.bias)
    first.running_var.mul_(255**2)
    return net


def test_the_net_of_wide_pixels_is_sound_on_them(wide: nn.Module) -> None:
    _, verdict, diagnoses = scanned(wide, digits()[0][:400] * 255)
    assert verdict.status == "healthy" and not named(diagnoses)


def test_inputs_divided_needlessly_are_told_from_stale_statistics(wide: nn.Module) -> None:
    _, verdict, diagnoses = scanned(wide, digits()[0][:400])
    assert verdict.status == "collapsed"
    assert named(diagnoses) == "wrong-input-scale" and diagnoses[0].layer == "input"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_statistics_off_by_other_factors_in_each_unit_are_stale(seed: int) -> None:
    net = copy.deepcopy(trained(convolutional))
    first = net.get_submodule("1")
    assert isinstance(first, nn.BatchNorm2d) and first.running_var is not None
    random = torch.Generator().manual_seed(seed)
    first.running_var.mul_((255 * torch.exp(2 * torch.randn(16, generator=random))) ** 2)
    _, _, diagnoses = scanned(net)
    assert named(diagnoses) == "stale-batchnorm"


def test_small_weights_in_front_of_statistics_that_were_never_updated_are_not_to_blame() -> None:
    net = copy.deepcopy(trained(convolutional))
    with torch.no_grad():
        net.get_parameter("0.weight").div_(255)
        net.get_parameter("0.bias").div_(255)
    for module in net.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
    _, verdict, diagnoses = scanned(net)
    assert verdict.status in ("collapsed", "degraded")
    assert named(diagnoses) == "stale-batchnorm"
