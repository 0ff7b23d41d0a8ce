"""The tokenizer that lies beside a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from collapsecheck.errors import UsageError, printable
from collapsecheck.models.huggingface.library import quiet
from collapsecheck.user_code import in_one_line

LONGEST = 512  # of models that do not say how many tokens they take
_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryTokenizer:
    """A tokenizer of transformers as `datasets.model_input.Tokenizer`.

    `prompt` stands before each text, `lower` makes texts lower case first; `names` are the arguments that the model's
    forward takes.
    """

    tokenizer: Any
    longest: int
    names: frozenset[str]
    prompt: str = ""
    lower: bool = False

    def length(self, text: str) -> int:
        """Number of tokens, uncut."""
        return len(self.tokenizer(self._prepared(text), truncation=False)["input_ids"])

    def __call__(self, texts: Sequence[str], length: int) -> dict[str, torch.Tensor]:
        """Token ids, mask and whatever else the model takes, `[n, length]`."""
        encoded = self.tokenizer(
            [self._prepared(text) for text in texts],
            padding="max_length",
            truncation=True,
            max_length=length,
            return_attention_mask=True,
            return_tensors="pt",
        )
        return {name: encoded[name] for name in encoded if name in self.names or name == "input_ids"}

    def _prepared(self, text: str) -> str:
        text = self.prompt + text
        return text.lower() if self.lower else text


def load_tokenizer(
    library: Any,
    directory: Path,
    config: Any,
    names: frozenset[str],
    *,
    longest: int | None = None,
    prompt: str = "",
    lower: bool = False,
) -> DirectoryTokenizer:
    """Load the tokenizer of a directory; nothing is downloaded and no code of the directory runs.

    Parameters
    ----------
    config
        Configuration of the model: its number of positions bounds the length.
    names
        Arguments of the model's forward.
    longest
        The most tokens, where the directory says so.

    Raises
    ------
    UsageError
        If there is none, or it cannot be read.
    """
    shown = printable(str(directory))
    if not any((directory / name).exists() for name in _FILES):
        raise UsageError(
            f"{shown}: no tokenizer lies beside the model (tokenizer.json), so it cannot read texts; copy it there, "
            "or give --transform FILE_OR_MODULE:CALLABLE, which makes token ids of equal length of a text"
        )
    try:
        with quiet(library):
            tokenizer = library.AutoTokenizer.from_pretrained(
                str(directory), local_files_only=True, trust_remote_code=False, use_fast=True
            )
            if tokenizer.pad_token is None:
                tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token or tokenizer.bos_token
    except Exception as error:  # the library parses files of many makers
        raise UsageError(f"{shown}: transformers cannot read the tokenizer: {in_one_line(error)}") from error
    positions = getattr(config, "max_position_embeddings", None)
    # Models like RoBERTa count positions from behind the padding's number.
    offset = getattr(config, "pad_token_id", None) if "roberta" in str(config.model_type) else -1
    known = [
        bound for bound in (longest, tokenizer.model_max_length, _positions(positions, offset))
        if isinstance(bound, int) and 1 < bound < 10**6
    ]  # fmt: skip
    return DirectoryTokenizer(
        tokenizer=tokenizer, longest=min(known, default=LONGEST), names=names, prompt=prompt, lower=lower
    )


def _positions(count: Any, offset: Any) -> int | None:
    return count - 1 - (offset if isinstance(offset, int) else -1) if isinstance(count, int) and count > 2 else None
