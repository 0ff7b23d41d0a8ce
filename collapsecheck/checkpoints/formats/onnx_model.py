"""What torch.onnx.export and other exporters write: a graph of operators with their weights."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import ClassVar

from collapsecheck.checkpoints.formats import CheckpointFormat, Contents, SafetyNote
from collapsecheck.checkpoints.onnx import Port, is_onnx, read_onnx


class OnnxModel(CheckpointFormat):
    """A model of ONNX, read by an own reader; its graph is not code, but a runtime has to run it.

    Weights may lie in other files, which are only taken from the directory of the model.
    """

    describes_model: ClassVar[bool] = True

    def recognises(self, head: bytes, path: Path) -> bool:
        """The format has no mark: it is believed where the fields in front are its own, up to the first operator."""
        return bool(head) and is_onnx(head, path)

    def read(self, path: Path) -> Contents:
        """Return initialisers and constants by name.

        The metadata: `producer`; `opset`, versions by domain; `inputs` and `outputs`, each a dict of `name`, `dtype`
        and `shape`; `nodes`, a dict of `count` and `types`, which counts the operators by type.
        """
        model = read_onnx(path)
        notes = []
        left = tuple(one.name for one in model.tensors.values() if one.stored is None and one.type != "string")
        if left:
            message = "These weights have types of less than a byte, which were left out."
            notes.append(SafetyNote(id="unread-weights", message=message, names=left))
        own = tuple(sorted({f"{node.domain}.{node.kind}" for node in model.nodes if node.domain not in _STANDARD}))
        if own:
            message = "The graph uses operators that are no standard ones; not every runtime has them."
            notes.append(SafetyNote(id="custom-operators", message=message, names=own))
        return Contents(
            content={name: one.stored for name, one in model.tensors.items() if one.stored is not None},
            metadata={
                "producer": model.producer,
                "opset": dict(model.opsets),
                "inputs": [_described(port) for port in model.inputs],
                "outputs": [_described(port) for port in model.outputs],
                "nodes": {
                    "count": len(model.nodes),
                    "types": dict(Counter(node.kind for node in model.nodes).most_common()),
                },
            },
            notes=tuple(notes),
            files=(path, *model.files),
        )


_STANDARD = frozenset(("", "ai.onnx", "ai.onnx.ml"))


def _described(port: Port) -> dict[str, object]:
    return {"name": port.name, "dtype": port.dtype, "shape": None if port.shape is None else list(port.shape)}
