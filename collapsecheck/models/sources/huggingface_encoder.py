"""Directories that transformers or sentence-transformers saved: the library has the classes."""

from __future__ import annotations

from typing import ClassVar

from collapsecheck.checkpoints import Checkpoint
from collapsecheck.checkpoints.state_dicts import Found
from collapsecheck.models.architecture import Architecture
from collapsecheck.models.sources import ModelSource


class HuggingfaceEncoder(ModelSource):
    """`config.json` or `modules.json` says what the model is; it needs the extra `[transformers]`."""

    rank: ClassVar[int] = 10

    def offer(self, checkpoint: Checkpoint, found: Found | None, *, trusted: bool) -> Architecture | None:  # noqa: ARG002
        """Offer the encoder that a directory describes.

        Raises
        ------
        NotLoadableError
            If transformers is not installed, or does not have this model.
        """
        if checkpoint.format == "sentence-transformers-directory":
            from collapsecheck.models.huggingface.architecture import SentenceArchitecture

            return SentenceArchitecture(checkpoint)
        if checkpoint.format != "huggingface-directory" or found is None:
            return None
        if "model_type" not in checkpoint.metadata["config"]:  # as that of timm, whose weights are recognised
            return None
        from collapsecheck.models.huggingface.architecture import HuggingfaceArchitecture

        return HuggingfaceArchitecture(checkpoint, found.usable[0].tensors)
