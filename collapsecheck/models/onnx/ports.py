"""What the inputs of an ONNX graph say about the data that it takes."""

from __future__ import annotations

from dataclasses import dataclass

from collapsecheck.checkpoints.onnx import OnnxModel, Port
from collapsecheck.datasets.model_input import ModelInput
from collapsecheck.errors import NotLoadableError, printable

#: Names of the input that a batch of one tensor is meant for; otherwise it is the first one.
_MAIN = ("pixel_values", "input_ids", "input_values", "input_features", "images", "image", "input", "x")
_PICTURE_CHANNELS = frozenset((1, 3))
_INTEGERS = frozenset(("int64", "int32"))
TYPES = frozenset((*_INTEGERS, "float32", "float16", "float64", "uint8", "int8", "int16", "bool"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The inputs of a graph.

    `main` is the one for a batch that is one tensor. `batch` is the number of items that it takes, None where it takes
    any; `channels_last` says that it wants images as height, width, channels.
    """

    ports: tuple[Port, ...]
    main: Port
    batch: int | None
    channels_last: bool


def inputs_of(model: OnnxModel) -> Inputs:
    """Tell what a graph is to be given.

    Raises
    ------
    NotLoadableError
        If it takes nothing, or something else than numbers.
    """
    if not model.inputs:
        raise NotLoadableError("the ONNX graph has no input; export the model with one")
    for port in model.inputs:
        if port.dtype not in TYPES:
            kind = port.dtype or "something that is no tensor"
            raise NotLoadableError(
                f"the ONNX graph takes {kind} as {printable(port.name, 60)}, expected numbers; "
                "export the model without the steps before its tensors"
            )
    named = {port.name.lower(): port for port in reversed(model.inputs)}
    main = next((named[name] for name in _MAIN if name in named), model.inputs[0])
    first = main.shape[0] if main.shape else None
    return Inputs(
        ports=model.inputs,
        main=main,
        batch=first if isinstance(first, int) and first > 0 else None,
        channels_last=_channels_last(main),
    )


def expected_by(model: OnnxModel, inputs: Inputs) -> ModelInput:
    """Describe the main input for the choice of the preprocessing."""
    shape = inputs.main.shape or ()
    ids = inputs.main.dtype in _INTEGERS and len(shape) <= 2
    channels, size = None, None
    if len(shape) == 4:
        depth, sides = (shape[3], shape[1:3]) if inputs.channels_last else (shape[1], shape[2:])
        channels = depth if isinstance(depth, int) and depth > 0 else _by_first_convolution(model)
        height, width = sides
        if isinstance(height, int) and isinstance(width, int) and min(height, width) > 0:
            size = height, width
    sound = _by_first_convolution(model) if len(shape) == 3 and not ids else None
    return ModelInput(
        channels=channels,
        sound_channels=sound,
        token_ids=ids,
        arch_name=None,
        size=size,
        byte_pixels=inputs.main.dtype == "uint8" and len(shape) == 4,
    )


def _channels_last(port: Port) -> bool:
    shape = port.shape or ()
    return len(shape) == 4 and shape[3] in _PICTURE_CHANNELS and shape[1] not in _PICTURE_CHANNELS


def _by_first_convolution(model: OnnxModel) -> int | None:
    node = next((node for node in model.nodes if node.kind == "Conv" and len(node.inputs) > 1), None)
    weight = model.tensors.get(node.inputs[1]) if node is not None else None
    if node is None or weight is None or len(weight.shape) < 2:
        return None
    return weight.shape[1] * node.numbers.get("group", 1)
