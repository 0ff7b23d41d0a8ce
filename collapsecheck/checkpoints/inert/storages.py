"""What tensors are views of: the storages that a pickle of torch refers to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from collapsecheck.checkpoints.records import Name
from collapsecheck.checkpoints.stored import ITEMSIZE
from collapsecheck.errors import NotLoadableError

LARGEST = 1 << 62  # no size or stride comes near
_MOST_DIMENSIONS = 64

# What the numbers of a storage are, by the first part of its class's name, and the bytes of each.
_STORAGES = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64",
    "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
    "ComplexDouble": "complex128", "ComplexFloat": "complex64", "Untyped": "uint8", "_Untyped": "uint8",
    "QInt8": "qint8", "QUInt8": "quint8", "QInt32": "qint32", "QUInt4x2": "quint4x2", "QUInt2x4": "quint2x4",
}  # fmt: skip
_SIZES = {**ITEMSIZE, "qint8": 1, "quint8": 1, "qint32": 4, "quint4x2": 1, "quint2x4": 1}
_STORAGE_MODULES = frozenset({"torch", "torch.cuda", "torch.storage"})


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
            if dtype is not None and type(key) is str and key.isdecimal() and key.isascii() and is_size(numel):
                return _viewed(Storage(key=key, dtype=dtype, stored=numel, numel=numel), view[0] if view else None)
    raise NotLoadableError("the pickle refers to something else than a storage; copy or download the file again")


def _viewed(storage: Storage, view: Any) -> Storage:
    if view is None:
        return storage
    if type(view) is tuple and len(view) == 3 and is_size(view[1]) and is_size(view[2]):
        _, start, numel = view
        if start + numel <= storage.numel:
            return replace(storage, numel=numel, start=start)
    raise outside("a view of a storage")


def _storage_type(kind: Any) -> str | None:
    if type(kind) is not Name:
        return None
    module, _, name = kind.path.rpartition(".")
    if module not in _STORAGE_MODULES or not name.endswith("Storage"):
        return None
    return _STORAGES.get(name.removesuffix("Storage"))


def is_size(value: Any) -> bool:
    """Whether a value can be a size, a stride or an offset."""
    return type(value) is int and 0 <= value < LARGEST


def are_sizes(values: Any) -> bool:
    """Whether these can be the sizes, or the strides, of a tensor."""
    return type(values) in (tuple, list) and len(values) <= _MOST_DIMENSIONS and all(map(is_size, values))


def outside(what: str) -> NotLoadableError:
    """Return the error for what is not within the bytes of the file."""
    return NotLoadableError(
        f"{what} declares other sizes than its bytes in the file have (tensor-out-of-bounds); copy or download it "
        "again, from a source you trust"
    )
