"""Tensors out of recorded calls: their type, shape and place in the file, after everything declared was checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from collapsecheck.checkpoints.formats import SafetyNote
from collapsecheck.checkpoints.inert.budget import Budget
from collapsecheck.checkpoints.records import Name, Stand
from collapsecheck.checkpoints.stored import ITEMSIZE, HeldTensor, MappedTensor, StoredTensor
from collapsecheck.errors import NotLoadableError, printable

# What the numbers of a storage are, by the first part of its class's name, and the bytes of each.
_STORAGES = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64",
    "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
    "ComplexDouble": "complex128", "ComplexFloat": "complex64", "Untyped": "uint8", "_Untyped": "uint8",
    "QInt8": "qint8", "QUInt8": "quint8", "QInt32": "qint32", "QUInt4x2": "quint4x2", "QUInt2x4": "quint2x4",
}  # fmt: skip
_SIZES = {**ITEMSIZE, "qint8": 1, "quint8": 1, "qint32": 4, "quint4x2": 1, "quint2x4": 1}
_STORAGE_MODULES = frozenset({"torch", "torch.cuda", "torch.storage"})

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
_LARGEST = 1 << 62
_MOST_DIMENSIONS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """What a tensor is a view of: `numel` numbers, from the one numbered `start`, of `stored` under `key`."""

    key: str
    dtype: str
    stored: int
    numel: int
    start: int = 0

    @property
    def itemsize(self) -> int:
        """Bytes of one number."""
        return _SIZES[self.dtype]


def storage_of(saved: Any) -> Storage | Name:
    """Read a persistent id of torch: `("storage", class, key, device, numbers[, view])`, or `("module", class, …)`.

    Raises
    ------
    NotLoadableError
        If it is anything else.
    """
    if type(saved) is tuple and saved:
        if saved[0] == "module" and len(saved) == 4 and type(saved[1]) is Name:
            return saved[1]  # beside the source code of the class, in files of torch < 1.6
        if saved[0] == "storage" and len(saved) in (5, 6):
            _, kind, key, _, numel, *view = saved
            dtype = _storage_type(kind)
            if dtype is not None and type(key) is str and key.isdecimal() and key.isascii() and _is_size(numel):
                return _viewed(Storage(key=key, dtype=dtype, stored=numel, numel=numel), view[0] if view else None)
    raise NotLoadableError("the pickle refers to something else than a storage; copy or download the file again")


def _viewed(storage: Storage, view: Any) -> Storage:
    if view is None:
        return storage
    if type(view) is tuple and len(view) == 3 and _is_size(view[1]) and _is_size(view[2]):
        _, start, numel = view
        if start + numel <= storage.numel:
            return replace(storage, numel=numel, start=start)
    raise _outside("a view of a storage")


def _storage_type(kind: Any) -> str | None:
    if type(kind) is not Name:
        return None
    module, _, name = kind.path.rpartition(".")
    if module not in _STORAGE_MODULES or not name.endswith("Storage"):
        return None
    return _STORAGES.get(name.removesuffix("Storage"))


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
        if not _are_sizes(shape) or not _are_sizes(strides) or not _is_size(offset) or len(shape) != len(strides):
            raise _outside("a tensor")
        begin, size = self._place(storage, within)
        if size != storage.stored * storage.itemsize:
            raise _outside("a storage")
        begin, size = begin + storage.start * storage.itemsize, storage.numel * storage.itemsize
        itemsize, count = ITEMSIZE[dtype], math.prod(shape)
        if not count:
            if math.prod(filter(None, shape)) >= _LARGEST:  # torch could not count the strides
                raise _outside("a tensor")
            offset = 0
        else:
            last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
            if (last + 1) * itemsize > size:
                raise _outside("a tensor")
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


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def _are_sizes(values: Any) -> bool:
    return type(values) in (tuple, list) and len(values) <= _MOST_DIMENSIONS and all(map(_is_size, values))


def _outside(what: str) -> NotLoadableError:
    return NotLoadableError(
        f"{what} declares other sizes than its bytes in the file have (tensor-out-of-bounds); copy or download it "
        "again, from a source you trust"
    )
