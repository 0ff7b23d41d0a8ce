"""Weights without an architecture, which names and shapes show to be of a model of torchvision."""

from __future__ import annotations

from typing import ClassVar

from collapsecheck.checkpoints import Checkpoint
from collapsecheck.checkpoints.state_dicts import Found
from collapsecheck.models.architecture import Architecture
from collapsecheck.models.sources import ModelSource
from collapsecheck.models.torchvision_architecture import TorchvisionArchitecture
from collapsecheck.recognition.choice import recognised


class RecognisedTorchvision(ModelSource):
    """A bare state dict of resnet50 and the like: any number of classes, with or without its head."""

    rank: ClassVar[int] = 50

    def offer(self, checkpoint: Checkpoint, found: Found | None, *, trusted: bool) -> Architecture | None:  # noqa: ARG002
        """Offer the model that the weights are of.

        Raises
        ------
        NotLoadableError
            If several models fit alike.
        """
        match = recognised(found, "torchvision") if found is not None else None
        return None if match is None else TorchvisionArchitecture(match.name, match)
