"""The graph of an ONNX file as the model."""

from __future__ import annotations

from pathlib import Path

from collapsecheck.checkpoints.onnx import OnnxModel
from collapsecheck.errors import printable
from collapsecheck.models.architecture import Architecture, EmbeddingPlace
from collapsecheck.models.onnx.head import classifier_node
from collapsecheck.models.onnx.module import OnnxModule
from collapsecheck.models.onnx.points import steps_of
from collapsecheck.models.onnx.ports import expected_by, inputs_of
from collapsecheck.models.onnx.session import Sessions, import_runtime
from collapsecheck.recognition.alignment import Shapes

_COUNTED = ("float", "int8", "uint8", "int4", "uint4")  # whole numbers of other types are shapes and indices


class OnnxArchitecture(Architecture):
    """Runs the graph with onnxruntime, on the CPU or, where onnxruntime has CUDA, on the device of the batch.

    Raises
    ------
    NotLoadableError
        If onnxruntime is not installed, or the graph takes something else than numbers.
    """

    def __init__(self, path: Path, model: OnnxModel) -> None:
        import_runtime()
        self._model = model
        self._inputs = inputs_of(model)
        self._steps = steps_of(model)
        self._sessions = Sessions(path, model)
        self._module: OnnxModule | None = None
        made_by = f" of {printable(model.producer, 60)}" if model.producer else ""
        self.name = f"ONNX graph{made_by}, {len(model.nodes)} nodes"
        self.reason = "the graph in the file, run by onnxruntime"
        self.takes = expected_by(model, self._inputs)
        self.parameters = sum(one.numel for one in model.tensors.values() if one.type.startswith(_COUNTED))
        self.assumed = ("images are given to it as height, width, channels",) if self._inputs.channels_last else ()

    def expected(self) -> Shapes | None:
        """None: the weights are in the graph."""
        return None

    def build(self, given: Shapes, *, complete: bool = False) -> OnnxModule:  # noqa: ARG002 - it has its weights
        """Return a module whose layers are the steps of the graph."""
        self._sessions.prepare()
        self._module = OnnxModule(self._model, self._steps, self._inputs, self._sessions).eval()
        return self._module

    def embedding(self) -> EmbeddingPlace:
        """Return the input of the last layer where that makes classes, else the output."""
        found = classifier_node(self._model)
        step = found and next((one for one in self._steps if one.returned == found[0].outputs[0]), None)
        if found is None or step is None or self._module is None:
            return EmbeddingPlace(reason="the model's output, as nothing shows that its last layer makes classes")
        layer = self._module.path_of(step.point.name)
        reason = f"the input of {printable(layer, 60)}, the last layer of a classifier ({found[1]})"
        return EmbeddingPlace(layer=layer, where="input", reason=reason)
