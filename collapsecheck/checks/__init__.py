"""Symptoms: each file of this folder is one check, from observations to findings.

A check never runs a model; its thresholds, and the reason for each, live in its file and nowhere else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from collapsecheck.discovery import identifier

if TYPE_CHECKING:
    from collapsecheck.observe import Observations

Example = Callable[[], "Observations"]


class Level(StrEnum):
    """How bad a failed check is (the words of SARIF)."""

    NOTE = "note"  # expected and harmless: worth knowing, never a fault
    WARNING = "warning"  # items are told apart, but not as well as raw cosine similarity needs
    ERROR = "error"  # as they stand, the embeddings no longer tell items apart


class Outcome(StrEnum):
    """What became of a check (the words of JUnit)."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"  # could not be seen; never counted as passed
    ERRORED = "errored"  # the check itself broke


class Kind(StrEnum):
    """What is lost, in the order in which the questions are asked: each makes the later ones meaningless."""

    NON_FINITE = "non-finite"
    NORM = "norm"
    COMPLETE = "complete"
    CLUSTER = "cluster"
    DIMENSIONAL = "dimensional"
    CONE = "cone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check says about one model: plain values only.

    `borderline` is true when twice the 95 % interval of the value reaches across the threshold: the verdict then
    says so, since another sample of the data may land on the other side.
    """

    check: str
    outcome: Outcome
    level: Level
    message: str
    value: float | None = None
    threshold: float | None = None
    interval: tuple[float, float] | None = None
    layer: str | None = None
    kind: Kind | None = None
    borderline: bool = False
    evidence: Mapping[str, Any] = field(default_factory=dict)


class Check(ABC):
    """One symptom. The file's name is the check's id; the class docstring is what `explain` prints.

    `HEALTHY` and `COLLAPSED` make observations on which the check must pass and must fail; the tests of every
    check are generated from them.
    """

    thresholds: ClassVar[Mapping[str, float]] = {}
    HEALTHY: ClassVar[Example]
    COLLAPSED: ClassVar[Example]

    def __init__(self, thresholds: Mapping[str, float] | None = None) -> None:
        self.limits = {**self.thresholds, **(thresholds or {})}

    @property
    def id(self) -> str:
        """Kebab-case id, the same as the name of the file."""
        return identifier(type(self).__module__)

    @abstractmethod
    def run(self, seen: Observations) -> Iterator[Finding]:
        """Yield at least one finding; may raise `NotObservable`, which becomes a skipped finding."""

    def finding(self, outcome: Outcome, level: Level, message: str, **values: Any) -> Finding:
        """Build a finding that carries this check's id."""
        return Finding(check=self.id, outcome=outcome, level=level, message=message, **values)

    def passed(self, message: str, **values: Any) -> Finding:
        """The symptom is absent."""
        return self.finding(Outcome.PASSED, Level.NOTE, message, **values)

    def failed(self, level: Level, message: str, **values: Any) -> Finding:
        """The symptom is present."""
        return self.finding(Outcome.FAILED, level, message, **values)

    def skipped(self, reason: str, **values: Any) -> Finding:
        """The symptom could not be looked for."""
        return self.finding(Outcome.SKIPPED, Level.NOTE, reason, **values)
