"""A layer of zeros gives zeros, which its weights also are: that makes it no codebook."""

from __future__ import annotations

import copy

import torch

from tests.causes.conftest import perceptron, scanned, trained


def test_zeroed_weights_are_no_codebook() -> None:
    net = copy.deepcopy(trained(perceptron))
    with torch.no_grad():
        # As many inputs as outputs, as a table of codes has it: the layer in the middle, and what reads it.
        for place in ("3", "5"):
            net.get_parameter(f"{place}.weight").zero_()
            net.get_parameter(f"{place}.bias").zero_()
    _, verdict, diagnoses = scanned(net)
    assert verdict.status == "collapsed"
    assert "codebook-collapse" not in {one.cause for one in diagnoses}
