"""Real sentences, from the docstrings of Python's standard library, and small encoders of them."""

from __future__ import annotations

import importlib
import inspect
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

MODULES = ("datetime", "email.message", "unittest.mock", "asyncio.tasks", "decimal", "pathlib", "logging", "argparse")
LENGTH, WORDS, WIDTH = 160, 400, 64
PADDING, UNKNOWN = 0, 1
SCANNED = 240


@cache
def sentences() -> tuple[Tensor, Tensor]:
    """Word ids ``[n, 160]``, filled up with 0, and the number of the module that each sentence is from ``[n]``."""
    told = [(number, words) for number, name in enumerate(MODULES) for words in _of(name)]
    counts = Counter(word for _, words in told for word in words)
    known = {word: place + 2 for place, (word, _) in enumerate(counts.most_common(WORDS - 2))}
    ids = torch.zeros(len(told), LENGTH, dtype=torch.long)
    for row, (_, words) in enumerate(told):
        for place, word in enumerate(words[:LENGTH]):
            ids[row, place] = known.get(word, UNKNOWN)
    order = torch.randperm(len(told), generator=torch.Generator().manual_seed(0))
    return ids[order], torch.tensor([number for number, _ in told])[order]


def _of(module: str) -> Iterator[list[str]]:
    """The sentences of a module's docstrings, as words; each once."""
    seen: set[str] = set()
    for text in _docstrings(importlib.import_module(module)):
        for sentence in re.split(r"[.:]\s|\n\n", text):
            words = re.findall(r"[a-z]+", sentence.lower())
            key = " ".join(words)
            if 4 <= len(words) <= 40 and key not in seen:
                seen.add(key)
                yield words


def _docstrings(module: Any) -> Iterator[str]:
    for _, item in sorted(vars(module).items()):
        if inspect.isclass(item) or inspect.isfunction(item):
            yield inspect.getdoc(item) or ""
            if inspect.isclass(item):
                for _, part in sorted(vars(item).items()):
                    yield inspect.getdoc(part) or "" if callable(part) else ""


class Attentive(nn.Module):
    """A transformer over words, read out by their mean."""

    def __init__(self, *, masked: bool) -> None:
        super().__init__()
        self.masked = masked
        self.words = nn.Embedding(WORDS, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 128, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, WIDTH)

    def forward(self, ids: Tensor) -> Tensor:
        """``[n, t]`` to ``[n, 64]``."""
        mask = ids != PADDING if self.masked else torch.ones_like(ids, dtype=torch.bool)
        tokens = self.blocks(self.words(ids), src_key_padding_mask=~mask if self.masked else None)
        weights = mask.unsqueeze(-1).to(tokens.dtype)
        rows: Tensor = self.head((tokens * weights).mean(1) / weights.mean(1).clamp(min=1e-6))
        return rows


class Recurrent(nn.Module):
    """A GRU over words, read out at the last of them, or at the last position."""

    def __init__(self, *, masked: bool) -> None:
        super().__init__()
        self.masked = masked
        self.words = nn.Embedding(WORDS, WIDTH)
        self.gru = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, WIDTH)

    def forward(self, ids: Tensor) -> Tensor:
        """``[n, t]`` to ``[n, 64]``."""
        states = self.gru(self.words(ids))[0]
        last = (ids != PADDING).sum(1).clamp(min=1) - 1
        rows: Tensor = self.head(states[torch.arange(len(ids)), last] if self.masked else states[:, -1])
        return rows


def attentive_masked() -> nn.Module:
    """A transformer that leaves padding out."""
    return Attentive(masked=True)


def attentive_unmasked() -> nn.Module:
    """A transformer that averages over padding."""
    return Attentive(masked=False)


def recurrent_masked() -> nn.Module:
    """A GRU that is read at the last word."""
    return Recurrent(masked=True)


def recurrent_unmasked() -> nn.Module:
    """A GRU that is read behind the padding."""
    return Recurrent(masked=False)


@cache
def trained(build: Any, seed: int) -> dict[str, Tensor]:
    """Weights with which an encoder tells the modules apart."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder, head = build(), nn.Linear(WIDTH, len(MODULES))
        ids, modules = (part[SCANNED:] for part in sentences())
        optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=3e-3)
        for _ in range(150):
            chosen = torch.randint(len(ids), (64,))
            batch = ids[chosen]
            batch = batch[:, : int((batch != PADDING).sum(1).max())]
            loss: Any = functional.cross_entropy(head(encoder(batch)), modules[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return {name: tensor.detach() for name, tensor in encoder.state_dict().items()}
