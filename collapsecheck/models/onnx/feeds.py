"""A batch as an ONNX graph wants it: all of its inputs, in their types and in their order of dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from collapsecheck.checkpoints.onnx import Port
from collapsecheck.errors import NotMeasuredError, printable
from collapsecheck.models.onnx.ports import Inputs


def feeds_from(given: Mapping[str, Tensor], inputs: Inputs) -> dict[str, NDArray[Any]]:
    """Return an array `[n, …]` for every input of a graph.

    Parameters
    ----------
    given
        Tensors by the names of inputs; other names are left out.

    Raises
    ------
    NotMeasuredError
        If an input is missing that cannot be filled in, or holds fractions where the graph takes whole numbers.
    """
    main = inputs.main
    if main.name not in given:
        shown = ", ".join(printable(port.name, 60) for port in inputs.ports)
        raise NotMeasuredError(f"takes {shown}; the batch has {', '.join(map(printable, given)) or 'nothing'}")
    batch = _array(given[main.name])
    feeds = {}
    for port in sorted(inputs.ports, key=lambda port: port is not main):  # its type is what users get wrong first
        array = _array(given[port.name]) if port.name in given else _filled_in(port.name, batch)
        if port is main and inputs.channels_last:
            array = _channels_last(array, port)
        feeds[port.name] = np.ascontiguousarray(_as_type(array, port))
    return feeds


def _array(tensor: Tensor) -> NDArray[Any]:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _filled_in(name: str, main: NDArray[Any]) -> NDArray[Any]:
    """Make what models of texts take beside token ids `[n, t]`, for texts that are neither padded nor paired."""
    if main.ndim == 2 and main.dtype.kind in "iu":
        if name == "attention_mask":
            return np.ones_like(main)
        if name == "token_type_ids":
            return np.zeros_like(main)
        if name == "position_ids":
            return np.broadcast_to(np.arange(main.shape[1]), main.shape)
    raise NotMeasuredError(
        f"also takes {printable(name, 60)}, which the data do not have; "
        "give a --dataset or --transform that makes dicts of all inputs"
    )


def _channels_last(array: NDArray[Any], port: Port) -> NDArray[Any]:
    """Turn images `[n, c, h, w]` to `[n, h, w, c]`, unless they are so already."""
    depth = port.shape[3] if port.shape else None
    turned = array.ndim == 4 and array.shape[1] == depth
    return array.transpose(0, 2, 3, 1) if turned else array


def _as_type(array: NDArray[Any], port: Port) -> NDArray[Any]:
    """Convert a batch to the type that the graph declares."""
    wanted = np.dtype(port.dtype)
    if array.dtype.kind == "f" and port.dtype in ("int64", "int32", "bool"):
        raise NotMeasuredError(
            f"takes whole numbers ({port.dtype}) as {printable(port.name, 60)}, such as token ids, the data are "
            "fractions; save them as int64"
        )
    if array.dtype.kind == "f" and wanted.kind != "f":
        limits = np.iinfo(wanted)
        array = np.nan_to_num(array).round().clip(limits.min, limits.max)
    return array.astype(wanted)
