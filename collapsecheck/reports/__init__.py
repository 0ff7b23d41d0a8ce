"""Report -> text. The report holds plain values only; each file beside this one renders one format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collapsecheck.causes import Diagnosis
    from collapsecheck.checks import Finding
    from collapsecheck.gate import Gate
    from collapsecheck.onset import Onset
    from collapsecheck.outlook import Outlook
    from collapsecheck.statistics.measurement import Measurement
    from collapsecheck.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What was scanned; None for fields that ready vectors do not have."""

    path: str
    sha256: str | None = None
    format: str
    trust: str = "data-only"  # data-only, known-classes or code
    notes: tuple[str, ...] = ()  # what is to be known about the file, one sentence each
    architecture: str | None = None
    architecture_reason: str = ""  # how it was found, where the user did not say
    assumed: tuple[str, ...] = ()  # what the weights do not tell
    missing_keys: tuple[str, ...] = ()
    unexpected_keys: tuple[str, ...] = ()
    mismatched_keys: tuple[str, ...] = ()
    ignored_keys: tuple[str, ...] = ()
    averaged_keys: tuple[str, ...] = ()  # moving averages of weights, which were not used
    training: Mapping[str, Any] = field(default_factory=dict)  # epoch, optimiser and the like, as far as kept
    parameters: int | None = None
    embedding_layer: str | None = None
    embedding_reason: str | None = None
    embedding_dim: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """What it was scanned on. `unreadable` counts items; the finding `readable-data` names them."""

    path: str
    kind: str
    seen: int
    used: int
    unreadable: int = 0
    labels: int | None = None  # number of classes
    transform: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFacts:
    """One step on the way to the embedding, measured on a sample; NaN where something is not defined.

    `layer` is a key of `named_modules()`, `step` the same with the function where a forward calls one itself.
    """

    layer: str
    step: str
    type: str
    depth: int
    relative_spread: float
    mean_cosine: float
    effective_rank: float
    rms: float
    dead_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything a reader gets. Two runs on the same files differ in `run` only."""

    model: ModelFacts
    data: DataFacts
    verdict: Verdict
    gate: Gate
    metrics: Mapping[str, Measurement]
    findings: tuple[Finding, ...]
    spectrum: tuple[float, ...] = ()  # share of the variance by direction, largest first
    cosine_histogram: tuple[int, ...] = ()  # pairs per bin ...
    cosine_range: tuple[float, float] = (-1.0, 1.0)  # ... over this range
    layers: tuple[LayerFacts, ...] = ()  # up to the embedding, in the order of execution
    onset: Onset | None = None  # where it begins
    diagnoses: tuple[Diagnosis, ...] = ()  # best first
    outlook: Outlook | None = None  # what the training would do from here
    run: Mapping[str, Any] = field(default_factory=dict)


class Renderer(ABC):
    """One format. The name of the file is the name of the format."""

    @abstractmethod
    def render(self, report: Report, *, width: int | None = None, color: bool = False) -> str:
        """Return the whole report as a string that ends with a newline."""
