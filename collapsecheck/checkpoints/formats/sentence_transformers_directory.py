"""What `SentenceTransformer.save` writes: a chain of modules, such as a transformer and the pooling behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from collapsecheck.checkpoints.directories import kind_of_directory
from collapsecheck.checkpoints.formats import CheckpointFormat, Contents
from collapsecheck.checkpoints.huggingface import DESCRIPTIONS, read_descriptions
from collapsecheck.checkpoints.sentence_transformers import read_chain, read_modules

_BESIDE = (*DESCRIPTIONS, "sentence_bert_config", "config_sentence_transformers")


class SentenceTransformersDirectory(CheckpointFormat):
    """A directory with `modules.json`; each module has its configuration and, if it has any, its weights."""

    describes_model: ClassVar[bool] = True

    def recognises(self, head: bytes, path: Path) -> bool:  # noqa: ARG002
        """By the names in it."""
        return kind_of_directory(path) == "sentence-transformers"

    def read(self, path: Path) -> Contents:
        """Return the weights by the module's name, then by their own.

        The metadata: `modules` is the chain as dicts of `name`, `type`, `path` (within the directory) and `config`;
        `config` is that of the transformer, `pooling` that of the pooling, if there is one. What lies beside the
        transformer, `sentence_bert_config` for instance, is there under its name.
        """
        modules = read_modules(path)
        chain = read_chain(modules)
        metadata: dict[str, Any] = {}
        files = [path / "modules.json"]
        for module in modules:
            if module.kind == "Pooling":
                metadata.setdefault("pooling", module.config)
            elif module.name in chain.content:
                metadata.setdefault("config", module.config)
            if (module.folder / "config.json").exists():
                files.append(module.folder / "config.json")
        for folder in dict.fromkeys((path, *(module.folder for module in modules if module.name in chain.content))):
            for name, parsed in read_descriptions(folder, _BESIDE).items():
                metadata.setdefault(name, parsed)
                files.append(folder / f"{name}.json")
        metadata["modules"] = [
            {
                "name": module.name,
                "type": module.type,
                "path": "" if module.folder == path else module.folder.name,
                "config": module.config,
            }
            for module in modules
        ]
        metadata["weights_files"] = {name: notes["weights_file"] for name, notes in chain.metadata.items()}
        return Contents(
            content=chain.content,
            metadata=metadata,
            notes=chain.notes,
            files=tuple(dict.fromkeys((*chain.files, *files))),
        )
