"""What an ONNX file holds, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from collapsecheck.checkpoints.onnx.tensors import NamedTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One step: `kind` is the operator (`Conv`), `numbers` are its whole-number attributes.

    `layers` are the names of the modules of PyTorch that it lies in, the outermost first, if the exporter noted them.
    """

    kind: str
    name: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: Mapping[str, int]
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input or output of the model: dimensions are numbers, names of free ones, or None where nothing is said.

    `dtype` is torch's name, `string`, or "" for what is no tensor; `shape` is None where even the rank is open.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxModel:
    """What a file holds. `nodes` are in the order of execution, `inputs` without those that have default values.

    `tensors` are the initialisers and the constants, by the name of their value; `files` are those beside the model
    that hold some of them.
    """

    producer: str
    opsets: Mapping[str, int]
    nodes: tuple[Node, ...]
    tensors: Mapping[str, NamedTensor]
    initialisers: frozenset[str]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    files: tuple[Path, ...]
