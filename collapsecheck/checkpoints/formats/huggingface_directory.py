"""What `save_pretrained` of the transformers library writes: a configuration and weights."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from collapsecheck.checkpoints.directories import kind_of_directory
from collapsecheck.checkpoints.formats import CheckpointFormat, Contents
from collapsecheck.checkpoints.huggingface import DESCRIPTIONS, read_config, read_descriptions, read_weights


class HuggingfaceDirectory(CheckpointFormat):
    """A directory with `config.json` and weights as safetensors, or where there are none as pickles."""

    describes_model: ClassVar[bool] = True

    def recognises(self, head: bytes, path: Path) -> bool:  # noqa: ARG002
        """By the names in it."""
        return kind_of_directory(path) == "huggingface"

    def read(self, path: Path) -> Contents:
        """Return the weights by name; the metadata has the parsed `config.json` as `config`."""
        weights = read_weights(path)
        config = read_config(path)
        descriptions = read_descriptions(path)
        read = (path / "config.json", *(path / f"{name}.json" for name in DESCRIPTIONS if name in descriptions))
        return Contents(
            content=weights.content,
            metadata={"config": config, **descriptions, **weights.metadata},
            notes=weights.notes,
            files=(*weights.files, *read),
        )
