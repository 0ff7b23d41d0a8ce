"""Tensors out of recorded calls: their type, shape and place in the file, after everything declared was checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collapsecheck.checkpoints.formats import SafetyNote
from collapsecheck.checkpoints.inert.budget import Budget
from collapsecheck.checkpoints.inert.storages import LARGEST, Storage, are_sizes, is_size, outside, storage_of
from collapsecheck.checkpoints.records import Name, Stand
from collapsecheck.checkpoints.stored import ITEMSIZE, HeldTensor, MappedTensor, StoredTensor
from collapsecheck.errors import printable

__all__ = ["Storage", "TensorMaker", "storage_of"]

_REBUILD = frozenset(f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3"))
_AROUND_A_TENSOR = frozenset(
    {
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        "torch.nn.parameter.Parameter",
        "torch.nn.parameter.Buffer",
        "torch.autograd.variable.Variable",
    }
)
_EMBEDDED = "torch.storage._load_from_bytes"
_OF_A_TYPE = frozenset({"torch._tensor._rebuild_from_type_v2", "torch._tensor._rebuild_from_type"})
_DEEPEST = 8  # a parameter of an own class around a tensor of an own class


@dataclass(slots=True, kw_only=True)
class TensorMaker:
    """Makes tensors of recorded calls. `locate` says where the bytes of a storage are: (offset, size) in `file`.

    Where tensors were pickled without torch.save, each storage is a small file of torch within the pickle; `embedded`
    reads one: the storage, and the offset of its bytes.
    """

    file: Path
    locate: Callable[[Storage], tuple[int, int]]
    big_endian: bool = False
    embedded: Callable[[bytes], tuple[Storage, int]] | None = None
    budget: Budget = field(default_factory=lambda: Budget(0))  # for what `embedded` ones copy
    _read: dict[int, tuple[Storage, int]] = field(default_factory=dict)
    unsupported: dict[str, None] = field(default_factory=dict)
    repeating: int = 0

    def tensor(self, stand: Stand) -> StoredTensor | None:
        """Return the tensor that a call would have made; None if it would not have made a dense one.

        Raises
        ------
        NotLoadableError
            If it would lie outside its storage, or its storage is not what was declared.
        """
        path, arguments = stand.path, stand.arguments
        for _ in range(_DEEPEST):
            if path in _REBUILD:
                return self._dense(path, arguments)
            if path in _OF_A_TYPE and len(arguments) >= 3 and type(arguments[0]) is Name:
                path, arguments = arguments[0].path, arguments[2]
                if type(arguments) is not tuple:
                    return None
            elif path in _AROUND_A_TENSOR and arguments and type(arguments[0]) is Stand:
                path, arguments = arguments[0].path, arguments[0].arguments
            else:
                break
        if path.startswith("torch._utils._rebuild_") or path.startswith("torch.distributed.tensor"):
            self.unsupported[path] = None
        return None

    def notes(self) -> tuple[SafetyNote, ...]:
        """Say which tensors were left out."""
        made = []
        if self.unsupported:
            names = tuple(self.unsupported)
            shown = ", ".join(printable(name, 60) for name in names[:5])
            made.append(
                SafetyNote(
                    id="unsupported-tensor",
                    message=f"holds sparse, quantised or otherwise special tensors ({shown}), which were left out",
                    names=names,
                )
            )
        if self.repeating:
            made.append(
                SafetyNote(
                    id="overlapping-tensor",
                    message=f"{self.repeating} tensors declare more numbers than are stored, by repeating them; they "
                    "were left out: save them with .contiguous()",
                )
            )
        return tuple(made)

    def _dense(self, path: str, arguments: tuple[Any, ...]) -> StoredTensor | None:
        typed = path == "torch._utils._rebuild_tensor_v3"
        if len(arguments) < (7 if typed else 4):
            self.unsupported[path] = None
            return None
        storage, offset, shape, strides = arguments[:4]
        within = self._within(storage)
        if within is not None:
            storage = self._read[id(within)][0]
        if type(storage) is not Storage:
            self.unsupported[path] = None
            return None
        dtype = storage.dtype
        if typed:
            dtype = arguments[6].path.removeprefix("torch.") if type(arguments[6]) is Name else ""
        if dtype not in ITEMSIZE or any(arguments[7 if typed else 6 :]):  # marks of conjugated and negated views
            self.unsupported[f"{path} {_kind(arguments)}"] = None
            return None
        if not are_sizes(shape) or not are_sizes(strides) or not is_size(offset) or len(shape) != len(strides):
            raise outside("a tensor")
        begin, size = self._place(storage, within)
        if size != storage.stored * storage.itemsize:
            raise outside("a storage")
        begin, size = begin + storage.start * storage.itemsize, storage.numel * storage.itemsize
        itemsize, count = ITEMSIZE[dtype], math.prod(shape)
        if not count:
            if math.prod(filter(None, shape)) >= LARGEST:  # torch could not count the strides
                raise outside("a tensor")
            offset = 0
        else:
            last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
            if (last + 1) * itemsize > size:
                raise outside("a tensor")
            if count * itemsize > size:
                self.repeating += 1
                return None
        begin += offset * itemsize
        in_rows = _row_after_row(shape, strides)
        if within is None:
            return MappedTensor(
                dtype=dtype,
                shape=tuple(shape),
                file=self.file,
                offset=begin,
                strides=None if in_rows else tuple(strides),
                big_endian=self.big_endian,
            )
        if count and not in_rows:
            self.unsupported[f"{path} of a view"] = None
            return None
        self.budget.take(count * itemsize)
        return HeldTensor(dtype=dtype, shape=tuple(shape), content=within[begin : begin + count * itemsize])

    def _within(self, storage: Any) -> bytes | None:
        """Return the file of torch that stands for a storage, if it is one, after it was read."""
        if self.embedded is None or type(storage) is not Stand or storage.path != _EMBEDDED:
            return None
        if len(storage.arguments) != 1 or type(storage.arguments[0]) is not bytes:
            return None
        content = storage.arguments[0]
        if id(content) not in self._read:  # the pickle keeps it, so that its id stays its own
            self._read[id(content)] = self.embedded(content)
        return content

    def _place(self, storage: Storage, within: bytes | None) -> tuple[int, int]:
        if within is None:
            return self.locate(storage)
        return self._read[id(within)][1], storage.stored * storage.itemsize


def _row_after_row(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    expected = 1
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length != 1 and stride != expected:
            return False
        expected *= length
    return True


def _kind(arguments: tuple[Any, ...]) -> str:
    """Name what a tensor is of that has no numbers known here."""
    if len(arguments) > 6 and type(arguments[6]) is Name:
        return f"of {arguments[6].path}"
    return f"of {arguments[0].dtype}" if arguments and type(arguments[0]) is Storage else ""
