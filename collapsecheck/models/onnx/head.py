"""Whether the last layer of an ONNX graph makes classes: then the embedding is what goes into it."""

from __future__ import annotations

import re

from collapsecheck.checkpoints.onnx import Node, OnnxModel
from collapsecheck.errors import printable
from collapsecheck.models.onnx.points import activations

_WORDS = re.compile(
    r"(?:^|[^a-z])(logits?|prob(?:s|abilit(?:y|ies))?|scores?|class(?:es)?|pred(?:s|ictions?)?|softmax)(?![a-z])"
)
#: Numbers of classes that stand for a well-known set of them.
_SETS = {1000: "ImageNet", 1001: "ImageNet and a background", 21841: "ImageNet-22k", 21843: "ImageNet-21k"}
_NORMALISERS = frozenset(("Softmax", "LogSoftmax"))
_UNCHANGED = frozenset(("Identity", "Cast", "Squeeze"))
_MOST_BEHIND = 8  # nodes behind the layer


def classifier_node(model: OnnxModel) -> tuple[Node, str] | None:
    """Return the last matrix product of a classifier, and what shows that it is one.

    The last layer of many models is a projection to the embedding itself: only a softmax behind it, the name of the
    output, or a number of classes that is well known makes it a classifier.
    """
    if len(model.outputs) != 1:
        return None
    port = model.outputs[0]
    makers = {value: node for node in model.nodes for value in node.outputs}
    alive = activations(model)
    evidence = ""
    named = _WORDS.search(port.name.lower())
    if named:
        evidence = f"its output is named {printable(port.name, 40)}"
    node = makers.get(port.name)
    for _ in range(_MOST_BEHIND):
        if node is None:
            return None
        if node.kind in _NORMALISERS:
            evidence = evidence or f"a {node.kind.lower()} follows"
        elif node.kind in ("Gemm", "MatMul"):
            break
        elif node.kind not in _UNCHANGED and not (node.kind == "Add" and _other(node, model)):
            return None
        node = next((makers[one] for one in node.inputs if one in alive and one in makers), None)
    if node is None or node.kind not in ("Gemm", "MatMul") or len(node.inputs) < 2:
        return None
    weight = model.tensors.get(node.inputs[1])
    if weight is None or len(weight.shape) != 2 or node.inputs[0] not in alive:
        return None
    width = weight.shape[0 if node.kind == "Gemm" and node.numbers.get("transB") else 1]
    if not evidence and width in _SETS:
        evidence = f"its {width} outputs are the classes of {_SETS[width]}"
    return (node, evidence) if evidence else None


def _other(node: Node, model: OnnxModel) -> bool:
    """Whether a step adds a constant, such as a bias."""
    return any(one in model.tensors for one in node.inputs)
