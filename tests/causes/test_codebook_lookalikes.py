"""What looks like a codebook of which few codes are used: layers of zeros, and few items."""

from __future__ import annotations

import copy

import torch
from torch import nn

from sample_models.networks import Codebook
from tests.causes.conftest import digits, perceptron, scanned, trained


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


def test_few_items_cannot_use_many_codes() -> None:
    encoder = copy.deepcopy(trained(perceptron))
    pictures, labels = digits()
    codebook = Codebook(512, 64)
    with torch.no_grad():
        codebook.codes.copy_(encoder(pictures[400:912]))
    _, _, diagnoses = scanned(nn.Sequential(encoder, codebook).eval(), pictures[:64], labels[:64])
    assert "codebook-collapse" not in {one.cause for one in diagnoses}
