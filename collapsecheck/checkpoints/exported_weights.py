"""The weights of a torch.export archive: bytes as they are, and JSON that says type, sizes and strides.

The layout is that of torch.export.save since torch 2.8: `data/weights/NAME_weights_config.json` names, for each weight
of the model NAME, the member of `data/weights/` that holds its storage. Weights that share a storage share a member.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from collapsecheck.checkpoints.archived_pickle import is_big_endian
from collapsecheck.checkpoints.embedded_zip import embedded_value
from collapsecheck.checkpoints.formats import SafetyNote
from collapsecheck.checkpoints.joined import is_shape
from collapsecheck.checkpoints.json_reader import LARGEST_INDEX, mapping, parse_json
from collapsecheck.checkpoints.stored import ITEMSIZE, MappedTensor, StoredTensor
from collapsecheck.checkpoints.zip_archive import Archive
from collapsecheck.errors import NotLoadableError, printable

# The numbers of torch's export schema (ScalarType); the gap are quantised types, which need more than bytes.
_TYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    9: "complex32", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16",
    29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz", 33: "float8_e8m0fnu",
    34: "uint32", 35: "uint64",
}  # fmt: skip
_STRIDED = 7  # the number of the layout that is neither sparse nor one of a backend
_FOLDER = "data/weights/"
# Where the weights are a file of torch.save: torch 2.7 and before, and packages of AOTInductor.
_WHOLE = re.compile(r"data/weights/(.+)\.pt|serialized_state_dict\.(?:pt|json)")
_CONFIG = re.compile(r"data/weights/(.+)_weights_config\.json")
_MEMBER = re.compile(r"weight_\d+")


def model_names(archive: Archive) -> tuple[str, ...]:
    """Return the names of the models in an archive whose weights are readable, as they are in it."""
    return tuple(found[1] for name in archive.members if (found := _CONFIG.fullmatch(name)))


def exported_weights(archive: Archive, model: str) -> tuple[dict[str, StoredTensor], tuple[str, ...]]:
    """Return the weights of a model by name, and the names of those that are there as pickles.

    Raises
    ------
    NotLoadableError
        If the description is damaged, or a weight does not lie within its member.
    """
    config = f"{_FOLDER}{model}_weights_config.json"
    parsed = mapping(parse_json(archive.content(config, limit=LARGEST_INDEX), config, LARGEST_INDEX), config)
    big_endian = is_big_endian(archive)
    tensors: dict[str, StoredTensor] = {}
    pickled = []
    for name, payload in mapping(parsed.get("config"), config).items():
        try:
            held = _payload(archive, mapping(payload, config), big_endian)
        except NotLoadableError as error:
            raise NotLoadableError(f"the weight {printable(name, 80)}: {error}") from error
        if held is None:
            pickled.append(name)
        else:
            tensors[name] = held
    return tensors, tuple(pickled)


def pickled_state_dicts(archive: Archive) -> tuple[dict[str, Mapping[str, Any]], tuple[SafetyNote, ...]]:
    """Return the weights of the releases before, by the name of the model; there they are as torch.save writes them.

    Raises
    ------
    NotLoadableError
        If they are damaged or hostile.
    """
    found: dict[str, Mapping[str, Any]] = {}
    notes: dict[SafetyNote, None] = {}
    for name in archive.members:
        whole = _WHOLE.fullmatch(name)
        if whole is None:
            continue
        try:
            value, noted = embedded_value(archive.path, *archive.span(name))
        except NotLoadableError as error:
            raise NotLoadableError(f"{printable(name, 80)} in it: {error}") from error
        notes |= dict.fromkeys(noted)
        if isinstance(value, Mapping) and value:
            found[whole[1] or "model"] = value
    return found, tuple(notes)


def _payload(archive: Archive, payload: Mapping[str, Any], big_endian: bool) -> MappedTensor | None:
    member = payload.get("path_name")
    if not isinstance(member, str) or not _MEMBER.fullmatch(member):
        shown = printable(str(member), 80)
        raise NotLoadableError(f"its member is called {shown}, expected weight_NUMBER; export the model again")
    if payload.get("use_pickle") is not False:
        return None
    meta = mapping(payload.get("tensor_meta"), "tensor_meta")
    dtype = _TYPES.get(number) if isinstance(number := meta.get("dtype"), int) else None
    if dtype is None or meta.get("layout") != _STRIDED:
        raise NotLoadableError("it is of a type or layout that cannot be read; export the model in float32")
    shape, strides = tuple(_integers(meta, "sizes")), tuple(_integers(meta, "strides"))
    (start,) = _integers({"storage_offset": [meta.get("storage_offset")]}, "storage_offset")
    if len(shape) != len(strides) or not is_shape(shape):
        raise NotLoadableError("its sizes and strides do not make a tensor; export the model again")
    offset, size = archive.span(_FOLDER + member)
    itemsize = ITEMSIZE[dtype]
    made = MappedTensor(
        dtype=dtype,
        shape=shape,
        file=archive.path,
        offset=offset + start * itemsize,
        strides=strides,
        big_endian=big_endian,
    )
    if start * itemsize + made.span > size or made.nbytes > size:
        raise NotLoadableError(
            f"it declares {made.nbytes:,} bytes of the {size:,} that are there; the file is damaged, export it again"
        )
    return made


def _integers(meta: Mapping[str, Any], field: str) -> Iterator[int]:
    entries = meta.get(field)
    if not isinstance(entries, list):
        raise NotLoadableError(f"its {field} are missing; export the model again")
    for entry in entries:
        number = entry.get("as_int") if isinstance(entry, dict) else None
        if type(number) is not int or not 0 <= number < 1 << 63:
            raise NotLoadableError(f"its {field} are no numbers from zero; export the model again")
        yield number
