"""Weights without an architecture, which names and shapes show to be of a model of timm."""

from __future__ import annotations

from typing import ClassVar

from collapsecheck.checkpoints import Checkpoint
from collapsecheck.checkpoints.state_dicts import Found
from collapsecheck.models.architecture import Architecture
from collapsecheck.models.sources import ModelSource
from collapsecheck.recognition.choice import recognised


class RecognisedTimm(ModelSource):
    """A bare state dict of one of timm's models; the model itself needs the extra `[timm]`."""

    rank: ClassVar[int] = 60

    def offer(self, checkpoint: Checkpoint, found: Found | None, *, trusted: bool) -> Architecture | None:  # noqa: ARG002
        """Offer the model that the weights are of.

        Raises
        ------
        NotLoadableError
            If several models fit alike, or timm is not installed.
        """
        match = recognised(found, "timm") if found is not None else None
        if match is None:
            return None
        from collapsecheck.models.timm_architecture import TimmArchitecture  # takes seconds to import

        return TimmArchitecture(match.name, match)
