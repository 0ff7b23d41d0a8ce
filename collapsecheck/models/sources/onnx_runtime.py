"""Models of ONNX, which onnxruntime runs."""

from __future__ import annotations

from typing import ClassVar

from collapsecheck.checkpoints import Checkpoint
from collapsecheck.checkpoints.onnx import read_onnx
from collapsecheck.checkpoints.state_dicts import Found
from collapsecheck.models.architecture import Architecture
from collapsecheck.models.onnx.architecture import OnnxArchitecture
from collapsecheck.models.sources import ModelSource


class OnnxRuntime(ModelSource):
    """The graph in the file is the model; nothing has to be known besides."""

    rank: ClassVar[int] = 15

    def offer(self, checkpoint: Checkpoint, found: Found | None, *, trusted: bool) -> Architecture | None:  # noqa: ARG002
        """Offer the graph of an ONNX file."""
        if checkpoint.format != "onnx-model":
            return None
        return OnnxArchitecture(checkpoint.path, read_onnx(checkpoint.path))
