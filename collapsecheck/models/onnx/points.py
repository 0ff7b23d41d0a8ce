"""Which steps of an ONNX graph can be listened to, and under which names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from collapsecheck.checkpoints.onnx import Node, OnnxModel
from collapsecheck.models.taps import Point

MOST = 1000  # steps that are listened to: half a megabyte of memory each, while the depth is looked at

# Operators that only look at shapes: what follows from them is no activation.
_SHAPES = frozenset(("Shape", "Size"))
# Operators that compute no activation, or change nothing but its layout, and those of which a named layer consists.
_NO_STEPS = frozenset((
    "Constant", "ConstantOfShape", "Range", "NonZero", "ArgMax", "ArgMin", "TopK", "OneHot", "EyeLike",
    "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Not", "Xor", "IsNaN", "IsInf",
    "Identity", "Cast", "CastLike", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Expand", "Split", "Slice",
    "QuantizeLinear", "DynamicQuantizeLinear", "Pad", "Tile", "Dropout",
))  # fmt: skip
_ELEMENTWISE = frozenset((
    "Pow", "Sqrt", "Reciprocal", "Erf", "Exp", "Log", "Neg", "Abs", "Sub", "Div", "Mul", "Where", "Gather", "Concat",
    "ReduceMean", "ReduceSum", "ReduceMax", "DequantizeLinear", "Clip", "Min", "Max",
))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A node that can be listened to: the point, and the values that go in ("" for none) and come out.

    `around` are the layers that end with it, the innermost first.
    """

    point: Point
    given: str
    returned: str
    around: tuple[Point, ...] = ()


def steps_of(model: OnnxModel) -> tuple[Step, ...]:
    """Return the steps of a model, in the order of execution.

    A step is called after the layer of the PyTorch model whose result it is, where the exporter noted that, else
    after the node, else after its value; the other names can be used as well.
    """
    alive = activations(model)
    ends = {node.outputs[0] for node in model.nodes if node.outputs} & {port.name for port in model.outputs}
    layers = _last_of_each_layer(model)
    found = []
    for index, node in enumerate(model.nodes):
        returned = next(filter(None, node.outputs), "")
        if returned not in alive or (node.kind in _NO_STEPS and returned not in ends and index not in layers):
            continue
        found.append((index, node, returned))
    if len(found) > MOST:
        kept = [one for one in found if one[1].kind not in _ELEMENTWISE or one[2] in ends]
        found = kept[-MOST:]
    steps = []
    for index, node, returned in found:
        inner, *outer = layers.get(index) or [""]
        name, *aliases = (one for one in (inner, node.name, returned) if one)
        step = Step(
            point=Point(name=name, kind=node.kind, units=_units(node, model), aliases=tuple(aliases)),
            given=next((one for one in node.inputs if one in alive), ""),
            returned=returned,
            around=tuple(Point(name=one, kind="Layer") for one in outer),
        )
        steps.append(step)
    return tuple(steps)


def activations(model: OnnxModel) -> set[str]:
    """Return the values that depend on the numbers of the input, not only on its shape."""
    alive = {port.name for port in model.inputs}
    for node in model.nodes:
        if node.kind not in _SHAPES and any(one in alive for one in node.inputs):
            alive.update(filter(None, node.outputs))
    return alive


def _last_of_each_layer(model: OnnxModel) -> Mapping[int, list[str]]:
    """Return which node gives the result of which layers, the innermost first; "" where nothing was noted."""
    last: dict[str, int] = {}
    for index, node in enumerate(model.nodes):
        last |= dict.fromkeys(node.layers, index)
    found: dict[int, list[str]] = {}
    for name, index in last.items():
        found.setdefault(index, []).append(name)
    return {index: sorted(names, key=len, reverse=True) for index, names in found.items()}


def _units(node: Node, model: OnnxModel) -> int | None:
    """Return how many channels or dimensions a layer with weights gives."""
    shapes = [model.tensors[one].shape for one in node.inputs[1:] if one in model.tensors]
    if not shapes or not shapes[0]:
        return None
    if node.kind == "Gemm":
        return shapes[0][0 if node.numbers.get("transB") else -1]
    if node.kind == "ConvTranspose" and len(shapes[0]) > 1:
        return shapes[0][1] * node.numbers.get("group", 1)
    if node.kind == "MatMul" and len(shapes[0]) > 1:
        return shapes[0][-1]
    known = ("Conv", "BatchNormalization", "LayerNormalization", "InstanceNormalization")
    return shapes[0][0] if node.kind in known else None
