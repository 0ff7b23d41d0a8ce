from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

transformers = pytest.importorskip("transformers")

SMALL = {
    "vocab_size": 160,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 40,
}
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [a + b for a in "bdfgklmnpr" for b in ("a", "e", "i", "o", "u", "al", "en", "or", "ut", "is")]


def text(seed: int, least: int = 3, most: int = 20) -> str:
    chooser = random.Random(seed)
    return " ".join(chooser.choice(WORDS) for _ in range(chooser.randint(least, most)))


def made(kind: str, **options: Any) -> nn.Module:
    """A random model of transformers."""
    torch.manual_seed(0)
    config = transformers.CONFIG_MAPPING[kind](**options)
    model: nn.Module = transformers.AutoModel.from_config(config)
    return model.eval()


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("words") / "vocab.txt"
    path.write_text("\n".join([*MARKS, *WORDS]))
    return path


@pytest.fixture
def save(tmp_path: Path, vocabulary: Path) -> Callable[..., Path]:
    """Save a model, with a tokenizer unless it needs none."""

    def inner(model: Any, *, tokens: bool = True, longest: int = 64) -> Path:
        folder = tmp_path / "model"
        model.save_pretrained(folder)
        if tokens:
            tokenizer = transformers.BertTokenizerFast(str(vocabulary))
            tokenizer.model_max_length = longest
            tokenizer.save_pretrained(folder)
        return folder

    return inner


@pytest.fixture
def bert(save: Callable[..., Path]) -> Path:
    return save(made("bert", **SMALL))


def change(folder: Path, **entries: Any) -> Path:
    """Change entries of config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))
    return folder
