"""One file of the safetensors library, read by that library: its header now, its numbers when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collapsecheck.checkpoints.stored import Stamp, StoredTensor, stamp
from collapsecheck.errors import NotLoadableError, printable

if TYPE_CHECKING:
    import torch

_TYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz", "F8_E8M0": "float8_e8m0fnu",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetensorsTensor(StoredTensor):
    """A tensor of a safetensors file, by its name."""

    dtype: str
    shape: tuple[int, ...]
    file: Path
    name: str

    def tensor(self) -> torch.Tensor:
        """Return the tensor, mapped into memory by the library."""
        tensor: torch.Tensor = _opened(self.file, "pt", stamp(self.file)).get_tensor(self.name)
        return tensor


def read_safetensors(path: Path) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Return the tensors of a file by name, and the notes in its header; reads the header alone.

    Raises
    ------
    NotLoadableError
        If the file is damaged, or a tensor has a type that is not known.
    """
    file = _opened(path, "np", stamp(path))
    tensors: dict[str, StoredTensor] = {}
    for name in file.keys():  # noqa: SIM118 - it is not a mapping
        part = file.get_slice(name)
        kind = str(part.get_dtype())
        if kind not in _TYPES:
            raise NotLoadableError(
                f"the tensor {printable(name, 80)} has the type {printable(kind, 20)}, which cannot be read; "
                "save it as float32, float16 or bfloat16"
            )
        tensors[name] = SafetensorsTensor(dtype=_TYPES[kind], shape=tuple(part.get_shape()), file=path, name=name)
    return tensors, dict(file.metadata() or {})


@lru_cache(maxsize=64)
def _opened(path: Path, framework: str, _: Stamp) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        opened: Any = safe_open(str(path), framework=framework, device="cpu")
        return opened.__enter__()
    except SafetensorError as error:
        raise NotLoadableError(
            f"truncated or damaged safetensors file ({printable(str(error))}); copy or download it again"
        ) from error
