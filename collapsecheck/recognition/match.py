"""What a comparison of weights with a known architecture came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["exact", "exact+extra", "head-changed", "stem-changed", "given-order", "partial", "weak"]
#: The better ones first. Of the last two no model is built.
KINDS: tuple[Kind, ...] = ("exact", "exact+extra", "head-changed", "stem-changed", "given-order", "partial", "weak")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """How far weights are those of an architecture.

    `score` is (matched - missing - wrongly shaped - 0.5 unexpected - 0.25 outside the prefix) / weights of the
    architecture, at most 1. `explained` is the share of the file's weights that the model has a place for. `prefix`
    was in front of the names. `classes` and `channels` are None where they are those of the library's defaults.
    `headless` is the part of the model that the file has not, "" if it has all. `foreign` are beginnings of names
    (with the prefix taken off) that the model does not know, `outside` the parts of the file beside the prefix.
    `renamed` gives the model's names where the file has others. `differs` names the first weight that makes it
    another architecture, where it is no sound match.
    """

    name: str
    kind: Kind
    score: float
    matched: int
    of: int
    explained: float = 0.0
    prefix: str = ""
    classes: int | None = None
    channels: int | None = None
    resized: bool = False
    headless: str = ""
    foreign: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    differs: str = ""

    @property
    def sound(self) -> bool:
        """Whether a model may be built on it."""
        return self.kind not in ("partial", "weak")
