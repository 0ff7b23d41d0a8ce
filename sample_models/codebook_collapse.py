"""`codebook-collapse`: a vector quantiser of which few codes are ever used."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sample_models import architectures
from sample_models.networks import Codebook
from sample_models.planting import Build, handed
from sample_models.sample import Sample
from sample_models.working import data as digits
from sample_models.working import working

CODES = 64


def plain_quantised() -> nn.Module:
    """`plain`, and a codebook behind it."""
    return nn.Sequential(architectures.plain(), Codebook(CODES, architectures.WIDTH))


def residual_quantised() -> nn.Module:
    """`residual`, a codebook and a linear layer behind it."""
    return nn.Sequential(
        architectures.residual(),
        Codebook(CODES, architectures.WIDTH),
        nn.Linear(architectures.WIDTH, architectures.WIDTH),
    )


_ENCODERS: dict[Build, Build] = {
    plain_quantised: architectures.plain,
    residual_quantised: architectures.residual,
}


def broken(build: Build, seed: int = 0) -> Sample:
    """All codes but three lie far from what the encoder gives."""
    whole = build()
    encoder = working(_ENCODERS[build], seed)
    whole.get_submodule("0").load_state_dict(encoder.state_dict())
    codebook = whole.get_submodule("1")
    assert isinstance(codebook, Codebook)
    with torch.no_grad():
        rows = encoder(data()[0][:3])
        codebook.codes.copy_(1e3 + torch.randn(codebook.codes.shape))
        codebook.codes[:3] = rows
    return handed(build, whole, "1")


def repaired(build: Build, seed: int = 0) -> Sample:
    """The encoder without a quantiser."""
    return handed(_ENCODERS[build], working(_ENCODERS[build], seed))


def data() -> tuple[Tensor, Tensor]:
    """Handwritten digits that no training saw, and their classes."""
    return digits()


ARCHITECTURES = tuple(_ENCODERS)
