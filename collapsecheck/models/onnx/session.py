"""Running an ONNX graph with onnxruntime; any value in it can be asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from collapsecheck.checkpoints.onnx import OnnxModel, read_onnx
from collapsecheck.checkpoints.onnx.tensors import TYPES
from collapsecheck.errors import NotLoadableError, NotMeasuredError
from collapsecheck.user_code import in_one_line

_KEPT = 2  # sessions: one for the embedding, one that also gives what is looked at in depth
_QUIET = 4  # onnxruntime's level for what ends the program
_NUMBERS = {name: number for number, name in TYPES.items()}
_GRAPH, _OUTPUT, _NAME = 7, 12, 1  # fields of ModelProto, GraphProto and ValueInfoProto


class Sessions:
    """The graph in a file, ready to run; made anew for other values that are asked for, as few times as possible.

    The file was checked by `read_onnx`: its declared sizes are right, and the weights beside it are handed over from
    there, so that onnxruntime opens no file at all. Libraries of custom operators are never loaded. What stays is that
    a compiled library reads and runs a graph that may be hostile: a defect in onnxruntime itself, or a graph that
    computes for hours or fills the memory, is not prevented here.

    Raises
    ------
    NotLoadableError
        If onnxruntime is not installed, or refuses the graph.
    """

    def __init__(self, path: Path, model: OnnxModel) -> None:
        self._path = path
        self._model = model
        self._ready: OrderedDict[tuple[frozenset[str], bool], Any] = OrderedDict()
        self._own = tuple(port.name for port in model.outputs)

    def __deepcopy__(self, memo: object) -> Sessions:
        return self

    def prepare(self, values: Iterable[str] = (), *, cuda: bool = False) -> Any:
        """Return the session that can give these values besides the outputs."""
        more = frozenset(values) - set(self._own)
        for (held, on_cuda), session in self._ready.items():
            if more == held and on_cuda == cuda:
                self._ready.move_to_end((held, on_cuda))
                return session
        while len(self._ready) >= _KEPT:
            self._ready.popitem(last=False)
        session = self._ready[more, cuda] = self._made(more, cuda)
        return session

    def run(self, session: Any, feeds: Mapping[str, NDArray[Any]], wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Compute values.

        Raises
        ------
        NotMeasuredError
            If one is no tensor of numbers that torch has.
        """
        try:
            found = session.run(list(wanted), dict(feeds))
        except Exception as error:  # its exceptions have no common class
            if "allocate" in str(error).lower():
                raise MemoryError(in_one_line(error)) from error
            raise
        for name, value in zip(wanted, found, strict=True):
            if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
                raise NotMeasuredError(f"returned {name!r}, which is no tensor of numbers; choose another --layer")
        return dict(zip(wanted, found, strict=True))

    def _made(self, more: frozenset[str], cuda: bool) -> Any:
        runtime = import_runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = _QUIET
        content = self._path.read_bytes()
        if read_onnx(self._path) != self._model:
            raise NotLoadableError("the file changed while it was read; try again")
        outer = {name: one for name, one in self._model.tensors.items() if one.file is not None}
        if outer:
            values = [
                runtime.OrtValue.ortvalue_from_numpy_with_onnx_type(_bits(one.stored.tensor()), _NUMBERS[one.type])
                for one in outer.values()
                if one.stored is not None
            ]
            options.add_external_initializers(list(outer), values)
        providers = (
            ["CUDAExecutionProvider"] if cuda and "CUDAExecutionProvider" in runtime.get_available_providers() else []
        )
        try:
            return runtime.InferenceSession(
                content + _more_outputs(sorted(more)), options, providers=[*providers, "CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no common class
            raise NotLoadableError(
                f"onnxruntime cannot run the graph: {in_one_line(error)}; export the model with standard operators "
                f"and an opset that onnxruntime {runtime.__version__} knows"
            ) from error


def import_runtime() -> Any:
    """Import onnxruntime.

    Raises
    ------
    NotLoadableError
        If it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise NotLoadableError("ONNX models are run by onnxruntime: pip install 'collapsecheck[onnx]'") from error
    return onnxruntime


def _bits(tensor: torch.Tensor) -> NDArray[Any]:
    """Return the elements as NumPy can hold them, those of types that it does not have as plain bits."""
    same = {torch.bfloat16: torch.int16}
    if tensor.is_floating_point() and tensor.element_size() == 1:
        return tensor.view(torch.uint8).numpy()
    return tensor.view(same.get(tensor.dtype, tensor.dtype)).numpy()


def _more_outputs(values: Iterable[str]) -> bytes:
    """Return what makes these values outputs when it is put behind a model.

    A message that comes twice is merged by definition: a second graph that has nothing but outputs adds these.
    """
    outputs = b"".join(_field(_OUTPUT, _field(_NAME, value.encode())) for value in values)
    return _field(_GRAPH, outputs) if outputs else b""


def _field(number: int, content: bytes) -> bytes:
    length, left = b"", len(content)
    while left > 127:
        length += bytes((left & 127 | 128,))
        left >>= 7
    return bytes((number << 3 | 2,)) + length + bytes((left,)) + content
