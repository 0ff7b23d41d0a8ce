"""The modules of a sentence-transformers directory: a chain, each with its class, its folder and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collapsecheck.checkpoints.directories import inside
from collapsecheck.checkpoints.formats import Contents
from collapsecheck.checkpoints.huggingface import read_weights
from collapsecheck.checkpoints.json_reader import mapping, read_json
from collapsecheck.errors import NotLoadableError, printable

_MOST = 100  # modules; honest chains have two to five


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainedModule:
    """One entry of `modules.json`: `name` in the chain, `type` its class by name, `folder` where its files are."""

    name: str
    type: str
    folder: Path
    config: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """The class without its package: Transformer, Pooling, Dense, Normalize."""
        return self.type.rpartition(".")[2]


def read_modules(directory: Path) -> list[ChainedModule]:
    """Return the chain that `modules.json` describes, in its order; no weights are read.

    Raises
    ------
    NotLoadableError
        If it is damaged, or names a folder outside the directory, or one that is missing.
    """
    entries = read_json(directory / "modules.json")
    if not isinstance(entries, list) or not entries or len(entries) > _MOST:
        raise NotLoadableError(f"modules.json is no list of 1 to {_MOST} modules; copy or download it again")
    modules = [_module(directory, mapping(entry, "an entry of modules.json")) for entry in entries]
    if len({module.name for module in modules}) < len(modules):
        raise NotLoadableError("modules.json gives two modules the same name; copy or download it again")
    return modules


def read_chain(modules: list[ChainedModule]) -> Contents:
    """Return the weights of the modules that have any, by the name of the module.

    Raises
    ------
    NotLoadableError
        If they are damaged, or no module has any.
    """
    content: dict[str, Any] = {}
    notes: list[Any] = []
    files: list[Path] = []
    metadata: dict[str, Any] = {}
    for module in modules:
        if not _has_weights(module.folder):
            continue
        weights = read_weights(module.folder)
        content[module.name] = weights.content
        metadata[module.name] = weights.metadata
        notes += weights.notes
        files += weights.files
    if not content:
        raise NotLoadableError("no module of modules.json has weights; copy or download the directory again")
    return Contents(content=content, metadata=metadata, notes=tuple(notes), files=tuple(files))


def _module(directory: Path, entry: Mapping[str, Any]) -> ChainedModule:
    kind, name, where = entry.get("type"), entry.get("name"), entry.get("path", "")
    if not isinstance(kind, str) or not isinstance(name, str) or not name or not isinstance(where, str):
        raise NotLoadableError("an entry of modules.json lacks its name, path or type; copy or download it again")
    folder = directory if where.strip("/") in {"", "."} else inside(directory, where.rstrip("/"))
    if folder is None:
        raise NotLoadableError(
            f"modules.json names the folder {printable(where, 80)}, which lies outside the directory; "
            "nothing was read from there; a folder has to be a plain name in it"
        )
    if kind.rpartition(".")[2] == "Normalize" and not folder.is_dir():  # it has nothing to save: git drops the folder
        return ChainedModule(name=name, type=kind, folder=folder, config={})
    if not folder.is_dir():
        raise NotLoadableError(f"the folder {printable(where, 80)} of modules.json is missing; copy or download it too")
    config = folder / "config.json"
    parsed = mapping(read_json(config), f"{where}/config.json".lstrip("/")) if config.exists() else {}
    return ChainedModule(name=name, type=kind, folder=folder, config=parsed)


def _has_weights(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    names = [entry.name for entry in folder.iterdir()]
    return any(name.endswith(".safetensors") or name.startswith("pytorch_model") for name in names)
