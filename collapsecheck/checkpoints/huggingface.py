"""Which files of a Hugging Face directory hold the weights, and what lies beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collapsecheck.checkpoints.directories import INDEX
from collapsecheck.checkpoints.formats import Contents
from collapsecheck.checkpoints.json_reader import mapping, read_json
from collapsecheck.checkpoints.shards import read_index, read_shards
from collapsecheck.checkpoints.weight_files import read_weight_file
from collapsecheck.errors import NotLoadableError, printable

# In the order in which transformers looks for them; a pickle only where nothing else is.
_WELL_KNOWN = (
    "model.safetensors",
    f"model{INDEX}",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_PART = re.compile(r"-\d{5}-of-\d{5}\.")
_SHOWN = 5

#: Files that say how the model is used, by the name under which they are reported.
DESCRIPTIONS = ("preprocessor_config", "tokenizer_config")


def read_weights(directory: Path) -> Contents:
    """Return the weights of a directory as one mapping; `metadata` holds the name of their file or index.

    Raises
    ------
    NotLoadableError
        If there are none, if they are damaged, or if several files could be meant.
    """
    file = _weights_file(directory)
    if file.name.endswith(".json"):
        contents = read_shards(read_index(file), read_weight_file)
        files = contents.files
    else:
        try:
            contents = read_weight_file(file)
        except NotLoadableError as error:
            raise NotLoadableError(f"{printable(file.name, 80)} in it: {error}") from error
        files = (file,)
    return Contents(
        content=contents.content,
        metadata={"weights_file": file.name, "notes": contents.metadata},
        notes=contents.notes,
        files=files,
    )


def read_config(directory: Path) -> Mapping[str, Any]:
    """Return `config.json`.

    Raises
    ------
    NotLoadableError
        If it is missing or damaged.
    """
    return mapping(read_json(directory / "config.json"), "config.json")


def read_descriptions(directory: Path, names: tuple[str, ...] = DESCRIPTIONS) -> dict[str, Any]:
    """Return those files `NAME.json` that are there, parsed, by name.

    Raises
    ------
    NotLoadableError
        If one is damaged.
    """
    present = (name for name in names if (directory / f"{name}.json").exists())
    return {name: read_json(directory / f"{name}.json") for name in present}


def _weights_file(directory: Path) -> Path:
    names = {entry.name for entry in directory.iterdir()}
    for name in _WELL_KNOWN[:2]:
        if name in names:
            return directory / name
    for ends in (INDEX, ".safetensors"):
        others = sorted(name for name in names if name.endswith(ends))
        if others:
            return directory / _only(others)
    for name in _WELL_KNOWN[2:]:
        if name in names:
            return directory / name
    pickled = sorted(name for name in names if name.startswith("pytorch_model") and name.endswith(".bin"))
    if pickled:
        return directory / _only(pickled)
    raise NotLoadableError(
        "the directory has no weights (model.safetensors or pytorch_model.bin); copy or download them too"
    )


def _only(names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    shown = ", ".join(printable(name, 60) for name in names[:_SHOWN])
    if any(_PART.search(name) for name in names):
        raise NotLoadableError(
            f"the weights are in {len(names)} parts ({shown}) without the index that belongs to them; "
            "copy or download the *.index.json too"
        )
    raise NotLoadableError(f"the directory holds {len(names)} files of weights ({shown}); give one of these files")
