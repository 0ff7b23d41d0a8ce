"""Weights without an architecture, which names and shapes show to be of a model of timm."""

from __future__ import annotations

from importlib.util import find_spec
from typing import ClassVar

from collapsecheck.checkpoints import Checkpoint
from collapsecheck.checkpoints.state_dicts import Found
from collapsecheck.errors import NotLoadableError
from collapsecheck.models.architecture import Architecture
from collapsecheck.models.recognition.choice import recognise, the_one
from collapsecheck.models.recognition.index import shipped
from collapsecheck.models.sources import ModelSource


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
        index = shipped("timm")
        alike = recognise(found, index) if found is not None and index is not None else []
        if not alike:
            return None  # timm takes seconds to import
        installed = find_spec("timm") is not None
        if installed:
            import timm

            alike = [match for match in alike if timm.is_model(match.name)]
        match = the_one(alike, "timm", "--arch timm:")
        if match is None:
            return None
        if not installed:
            raise NotLoadableError(
                f"the weights are those of timm's {match.name}, but timm is not installed; "
                "pip install 'collapsecheck[timm]', or build the model with --model-def FILE:CALLABLE"
            )
        from collapsecheck.models.timm_architecture import TimmArchitecture

        return TimmArchitecture(match.name, match)
