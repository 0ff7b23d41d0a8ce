"""What `collapsecheck inspect` found: plain values only. `inspection_text` and `inspection_json` render it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collapsecheck.checkpoints.training_state import TrainingState


class Use(StrEnum):
    """What a scan would do with an entry of the file."""

    CHOSEN = "chosen"
    OTHER_WEIGHTS = "other-weights"
    MOVING_AVERAGE = "moving-average"
    TRAINING_STATE = "training-state"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry at the top of the file; `key` is "" for the tensors that lie there directly.

    `kind` says in a word or two what it is, `shown` its value if it is short. `numbers` counts the elements of
    floating tensors, `why` explains the use.
    """

    key: str
    kind: str
    shown: str
    tensors: int
    numbers: int
    bytes: int
    use: Use
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The tensors with one prefix; `kind` is its class, where it is known."""

    name: str
    kind: str | None
    tensors: Mapping[str, tuple[str, tuple[int, ...]]]  # type and shape by the last part of the name
    parameters: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The weights that a scan would use. `parameters` counts tied ones once, and no buffers of normalisation."""

    key: str
    tensors: int
    parameters: int
    bytes: int
    dtypes: Mapping[str, int]  # number of tensors by type
    prefixes: tuple[str, ...] = ()
    added_prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureFacts:
    """The model that the weights belong to: `name` is None where it could not be told, `reason` says why either way.

    `asked` says that the user named it. The keys are those that do not fit, as a scan would report them.
    """

    name: str | None
    reason: str
    asked: bool = False
    assumed: tuple[str, ...] = ()
    missing_keys: tuple[str, ...] = ()
    unexpected_keys: tuple[str, ...] = ()
    mismatched_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A checkpoint, as far as it can be known without running anything. Names are as in the file: escape them.

    `architecture` is None where it was not looked for, `weights` where there are none (`no_weights` says why).
    """

    path: str
    format: str
    bytes: int
    files: int
    sha256: str | None
    notes: tuple[tuple[str, str, tuple[str, ...]], ...]  # id, sentence, names
    runs_code: bool
    metadata: Mapping[str, Any] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()
    weights: Weights | None = None
    no_weights: str = ""
    architecture: ArchitectureFacts | None = None
    layers: tuple[Layer, ...] = ()
    training: TrainingState
