"""Arrays out of .npy, .npz, .pt and .safetensors files; nothing in a file is ever executed."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from collapsecheck.checkpoints import StoredTensor
from collapsecheck.checkpoints.saved import read_saved
from collapsecheck.errors import NotLoadableError, NotMeasuredError, UsageError, printable

Array = NDArray[Any] | torch.Tensor

SUFFIXES = (".npy", ".npz", ".pt", ".safetensors")
INPUT_KEYS = ("inputs", "x", "X", "data", "images", "embeddings", "arr_0")
LABEL_KEYS = ("labels", "y", "targets")
NPY = b"\x93NUMPY"
# What a .npz file may unpack to: this much in any case, and so many times its size. Noise-free images reach 50 times.
UNPACKED_BYTES, UNPACKED_RATIO = 64 * 2**20, 200


def read_arrays(path: Path) -> dict[str, Array]:
    """Return the arrays of a file by name; a bare array is called `""`, a pair is called inputs and labels.

    A .npy file, a .safetensors file and a .pt file of the zip format are mapped into memory, not read.

    Raises
    ------
    UsageError
        If the file holds pickled objects or anything but arrays.
    NotMeasuredError
        If the file is empty, damaged or too large for the memory.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64)
        if not start:
            raise NotMeasuredError(f"{_shown(path)}: the file is empty")
        if start.startswith(b"version https://git-lfs"):
            raise NotMeasuredError(f"{_shown(path)}: a Git LFS pointer, not the data; run `git lfs pull`")
        match path.suffix.lower():
            case ".pt":
                return _read_torch(path)
            case ".safetensors":
                return _read_safetensors(path)
            case _:
                return _read_numpy(path, start)
    except OSError as error:
        raise UsageError(f"{_shown(path)}: cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise NotMeasuredError(f"{_shown(path)}: does not fit into memory; save it as .npy") from error


def parse_npy(content: bytes) -> NDArray[Any]:
    """Return the array in the content of a .npy file; its declared size is checked before anything is allocated.

    Raises
    ------
    ValueError
        If the content is damaged, shorter than it declares, or holds pickled objects.
    """
    stream = BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(stream)
    if dtype.hasobject:
        raise ValueError("holds pickled Python objects, which are never loaded")
    count, start = math.prod(shape), stream.tell()
    if min(shape, default=0) < 0 or count * dtype.itemsize > len(content) - start:
        raise ValueError(f"declares {list(shape)} of {dtype}, which is more than the {len(content) - start} bytes held")
    array = np.frombuffer(content, dtype=dtype, count=count, offset=start)
    return array.reshape(shape, order="F" if fortran else "C")


def pick(arrays: Mapping[str, Array], keys: Sequence[str]) -> Array | None:
    """Return the array with the first of these names; a bare array and an only one have every name."""
    if len(arrays) == 1:
        (name,) = arrays
        return arrays[name] if name in {*keys, ""} or name not in {*INPUT_KEYS, *LABEL_KEYS} else None
    return next((arrays[key] for key in keys if key in arrays), None)


def _read_numpy(path: Path, start: bytes) -> dict[str, Array]:
    if not start.startswith((NPY, b"PK\x03\x04")):
        refused = "a pickle, which is never loaded" if start.startswith(b"\x80") else "not a NumPy file"
        raise UsageError(f"{_shown(path)}: {refused}; save a plain array with numpy.save")
    try:
        if start.startswith(NPY):
            try:
                return {"": np.load(path, mmap_mode="r", allow_pickle=False)}
            except ValueError:  # an array without rows cannot be mapped; a damaged one fails here again
                return {"": _small_npy(path)}
        _refuse_bomb(path)
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            known = [name for name in file.files if name in {*INPUT_KEYS, *LABEL_KEYS}]
            return {name: file[name] for name in (file.files if len(file.files) == 1 else known)}
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        if "allow_pickle" in str(error) or "never loaded" in str(error):
            raise UsageError(
                f"{_shown(path)}: holds pickled Python objects, which are never loaded; "
                "save a plain array, for example of dtype float32"
            ) from error
        raise NotMeasuredError(f"{_shown(path)}: damaged NumPy file: {printable(str(error))}") from error


def _refuse_bomb(path: Path) -> None:
    """Refuse a .npz file whose members would unpack to far more than the file's own size.

    Raises
    ------
    NotMeasuredError
        If one does.
    """
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.file_size > max(UNPACKED_BYTES, UNPACKED_RATIO * member.compress_size):
                raise NotMeasuredError(
                    f"{_shown(path)}: {printable(member.filename, 60)} would unpack from {member.compress_size:,} to "
                    f"{member.file_size:,} bytes; if that is meant, save the array as .npy"
                )


def _small_npy(path: Path) -> NDArray[Any]:
    """Read an array that cannot be mapped, as it has no rows, or holds less than it declares."""
    with path.open("rb") as file:
        return parse_npy(file.read(UNPACKED_BYTES))


def _read_torch(path: Path) -> dict[str, Array]:
    """Read what torch.save wrote as checkpoints are read: torch's own reader can be made to compute for hours."""
    try:
        held, notes = read_saved(path)
    except NotLoadableError as error:
        raise UsageError(
            f"{_shown(path)}: damaged, or it holds more than tensors, which is never loaded: {error}"
        ) from error
    if isinstance(held, StoredTensor):
        return {"": _plain(path, held)}
    if isinstance(held, (tuple, list)) and len(held) == 2 and all(isinstance(part, StoredTensor) for part in held):
        return {"inputs": _plain(path, held[0]), "labels": _plain(path, held[1])}
    if isinstance(held, Mapping):
        named = {str(key): part for key, part in held.items() if isinstance(part, StoredTensor)}
        known = {key: part for key, part in named.items() if len(held) == 1 or key in {*INPUT_KEYS, *LABEL_KEYS}}
        if known:
            return {key: _plain(path, part) for key, part in known.items()}
    if any(note.id in {"overlapping-tensor", "unsupported-tensor"} for note in notes):
        raise UsageError(
            f"{_shown(path)}: only dense tensors of real numbers can be read, none that repeats its elements; "
            "save with torch.save(tensor.to_dense().clone(), path)"
        )
    raise UsageError(
        f"{_shown(path)}: holds neither a tensor nor a pair nor a dict with one of {', '.join(INPUT_KEYS)}; "
        "is it a checkpoint? The model comes first, then the data"
    )


def _read_safetensors(path: Path) -> dict[str, Array]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            known = [name for name in names if name in {*INPUT_KEYS, *LABEL_KEYS}]
            return {name: _dense(path, file.get_tensor(name)) for name in (names if len(names) == 1 else known)}
    except SafetensorError as error:
        raise NotMeasuredError(f"{_shown(path)}: damaged safetensors file: {printable(str(error))}") from error


def _plain(path: Path, stored: StoredTensor) -> torch.Tensor:
    return _dense(path, stored.tensor())


def _dense(path: Path, tensor: torch.Tensor) -> torch.Tensor:
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_complex():
        raise UsageError(f"{_shown(path)}: only dense tensors of real numbers can be read, not {tensor.dtype}")
    tensor = tensor.detach()
    if tensor.dtype in {torch.uint16, torch.uint32, torch.uint64}:  # torch can hardly index these
        return tensor.to(torch.int64)
    return tensor if tensor.dtype.itemsize > 1 or not tensor.is_floating_point() else tensor.to(torch.float32)


def _shown(path: Path) -> str:
    return printable(str(path))
