"""An ONNX file as records; it looks into every part, so that nothing escapes the checks that a runtime would follow."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from collapsecheck.checkpoints.onnx.recognition import GRAPH, MODEL
from collapsecheck.checkpoints.onnx.records import Node, OnnxModel, Port
from collapsecheck.checkpoints.onnx.tensors import TYPES, NamedTensor, entry, read_tensor
from collapsecheck.checkpoints.protobuf import Buffer, DamagedError, Field, Wire, fields, signed, text
from collapsecheck.checkpoints.stored import MappedTensor, Stamp, stamp
from collapsecheck.errors import NotLoadableError, printable

_MOST_NODES = 1_000_000
_DEEPEST = 16  # graphs within nodes within graphs
_QUOTED = re.compile(r"'([^']*)'")
_LONGEST_NOTE = 1 << 14


def read_onnx(path: Path) -> OnnxModel:
    """Return what a file holds; every size that it declares was checked, in all of its parts.

    Raises
    ------
    NotLoadableError
        If it is damaged or hostile.
    """
    return _read(path, stamp(path))


@lru_cache(maxsize=4)
def _read(path: Path, _: Stamp) -> OnnxModel:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
            return _Reader(held, path).model()
    except DamagedError as error:
        raise NotLoadableError(
            f"truncated or damaged ONNX file ({error}); export, copy or download it again"
        ) from error


@dataclass
class _Reader:
    """Reads one file. It looks into every part, so that nothing escapes the checks that a runtime would follow."""

    held: Buffer
    path: Path
    nodes: int = 0
    files: dict[Path, set[tuple[int, int]]] = field(default_factory=dict)

    def model(self) -> OnnxModel:
        graphs: list[Field] = []
        producer = ["", ""]
        opsets: dict[str, int] = {}
        for one in self._known(0, len(self.held), MODEL):
            if one.number in (2, 3):
                producer[one.number - 2] = text(self.held, one)
            elif one.number == 7:
                graphs.append(one)
            elif one.number == 8:
                domain, version = self._opset(one)
                opsets[domain or "ai.onnx"] = version
            elif one.number == 25:
                self._function(one)
            elif one.number == 20:
                raise NotLoadableError("the ONNX file holds a training graph; export the model for inference")
        if len(graphs) != 1:  # a reader of Protocol Buffers would merge them
            raise DamagedError(f"it holds {len(graphs)} graphs, expected one")
        nodes, tensors, initialisers, inputs, outputs = self._graph(graphs[0], depth=0)
        self._check_overlaps()
        return OnnxModel(
            producer=" ".join(filter(None, producer)),
            opsets=opsets,
            nodes=tuple(nodes),
            tensors=tensors,
            initialisers=frozenset(initialisers),
            inputs=tuple(port for port in inputs if port.name not in initialisers),
            outputs=tuple(outputs),
            files=tuple(self.files),
        )

    def _graph(
        self, at: Field, depth: int
    ) -> tuple[list[Node], dict[str, NamedTensor], set[str], list[Port], list[Port]]:
        if depth > _DEEPEST:
            raise NotLoadableError(f"graphs are nested more than {_DEEPEST} deep, which no honest model does")
        nodes: list[Node] = []
        tensors: dict[str, NamedTensor] = {}
        initialisers: set[str] = set()
        inputs: list[Port] = []
        outputs: list[Port] = []
        for one in fields(self.held, at.start, at.end):
            if one.number in GRAPH and one.wire != Wire.LENGTH:
                raise DamagedError("a part of the graph is stored in an unknown way")
            if one.number == 1:
                nodes.append(self._node(one, depth, tensors))
            elif one.number == 5:
                tensor = self._tensor(one, may_be_external=depth == 0)
                if tensor.name in initialisers:
                    raise DamagedError("two weights have one name")
                initialisers.add(tensor.name)
                tensors[tensor.name] = tensor
            elif one.number == 11:
                inputs.append(self._port(one))
            elif one.number == 12:
                outputs.append(self._port(one))
            elif one.number == 15:
                raise NotLoadableError("the ONNX file holds sparse weights, which are not supported; export them dense")
        return nodes, tensors, initialisers, inputs, outputs

    def _node(self, at: Field, depth: int, constants: dict[str, NamedTensor]) -> Node:
        self.nodes += 1
        if self.nodes > _MOST_NODES:
            raise NotLoadableError(f"the ONNX file has more than {_MOST_NODES:,} nodes, which no honest model has")
        inputs: list[str] = []
        outputs: list[str] = []
        words = {3: "", 4: "", 7: ""}
        numbers: dict[str, int] = {}
        tensor: NamedTensor | None = None
        layers: tuple[str, ...] = ()
        for one in fields(self.held, at.start, at.end):
            if one.number in (1, 2):
                (inputs if one.number == 1 else outputs).append(text(self.held, one))
            elif one.number in words:
                words[one.number] = text(self.held, one)
            elif one.number == 5:
                name, value = self._attribute(one, depth)
                if isinstance(value, int):
                    numbers[name] = value
                tensor = value if isinstance(value, NamedTensor) and name == "value" else tensor
            elif one.number == 9:
                layers = layers or self._layers(one)
        if words[4] == "Constant" and tensor is not None and outputs:
            constants[outputs[0]] = tensor
        return Node(
            kind=words[4],
            name=words[3],
            domain=words[7],
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            numbers=numbers,
            layers=layers,
        )

    def _layers(self, at: Field) -> tuple[str, ...]:
        """Return the layers that torch's exporter notes at a node: `['', 'layer1', 'layer1.0', 'conv2d']`."""
        key, value = entry(self.held, at)
        if key != "pkg.torch.onnx.name_scopes":
            return ()
        names = [name for name in _QUOTED.findall(value[:_LONGEST_NOTE]) if name]
        return tuple(names[:-1])  # the last one is the function

    def _attribute(self, at: Field, depth: int) -> tuple[str, int | NamedTensor | None]:
        """Return name and value of an attribute, as far as it is a whole number or a tensor; check all others."""
        name = ""
        value: int | NamedTensor | None = None
        seen: set[int] = set()
        for one in fields(self.held, at.start, at.end):
            if one.number in (5, 6, 22) and one.number in seen:  # a reader would merge the two
                raise DamagedError("an attribute has two values")
            seen.add(one.number)
            if one.number == 1:
                name = text(self.held, one)
            elif one.number == 3:
                value = signed(one.value)
            elif one.number in (5, 10):
                tensor = self._tensor(one, may_be_external=False)
                value = tensor if one.number == 5 else value
            elif one.number in (6, 11):
                self._graph(one, depth + 1)
            elif one.number in (22, 23):
                raise NotLoadableError("the ONNX file holds sparse tensors, which are not supported; export them dense")
        return name, value

    def _function(self, at: Field) -> None:
        """Look through a function that the file defines; its nodes are used like operators."""
        for one in fields(self.held, at.start, at.end):
            if one.number == 7:
                self._node(one, 1, {})
            elif one.number == 11:
                self._attribute(one, 1)

    def _tensor(self, at: Field, *, may_be_external: bool) -> NamedTensor:
        tensor = read_tensor(self.held, at, self.path, may_be_external=may_be_external)
        if tensor.file is not None and isinstance(tensor.stored, MappedTensor):
            self.files.setdefault(tensor.file, set()).add((tensor.stored.offset, tensor.stored.nbytes))
        return tensor

    def _check_overlaps(self) -> None:
        """Refuse weights that share bytes of another file in part: together they could be of any size."""
        for file, places in self.files.items():
            if sum(size for _, size in places) > file.stat().st_size:
                raise NotLoadableError(
                    f"its weights overlap in {printable(file.name, 80)}, which no exporter does; export the model again"
                )

    def _opset(self, at: Field) -> tuple[str, int]:
        domain, version = "", 0
        for one in fields(self.held, at.start, at.end):
            if one.number == 1:
                domain = text(self.held, one)
            elif one.number == 2:
                version = signed(one.value)
        return domain, version

    def _port(self, at: Field) -> Port:
        name = ""
        dtype = ""
        shape: tuple[int | str | None, ...] | None = None
        for one in fields(self.held, at.start, at.end):
            if one.number == 1:
                name = text(self.held, one)
            elif one.number == 2:
                for tensor in self._inner(one, 1):
                    for part in fields(self.held, tensor.start, tensor.end):
                        if part.number == 1:
                            dtype = TYPES.get(part.value, "")
                        elif part.number == 2:
                            shape = tuple(self._dimension(size) for size in self._inner(part, 1))
        return Port(name=name, dtype=dtype, shape=shape)

    def _dimension(self, at: Field) -> int | str | None:
        value: int | str | None = None
        for one in fields(self.held, at.start, at.end):
            if one.number == 1:
                value = signed(one.value)
                value = value if value >= 0 else None  # exporters write -1 for what is free
            elif one.number == 2:
                value = text(self.held, one) or None
        return value

    def _inner(self, at: Field, number: int) -> Iterator[Field]:
        for one in fields(self.held, at.start, at.end):
            if one.number == number:
                yield one

    def _known(self, start: int, end: int, known: Mapping[int, Wire]) -> Iterator[Field]:
        for one in fields(self.held, start, end):
            if known.get(one.number, one.wire) != one.wire:
                raise DamagedError("a part is stored in an unknown way")
            yield one
