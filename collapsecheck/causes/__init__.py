"""Root causes: each file of this folder is one, from observations to an experiment that would remove it.

A cause never measures its own success: it returns the probe without the cause, and the stage `diagnosis` asks the
very checks that failed. Changes are made on copies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from collapsecheck.checks import Kind
from collapsecheck.discovery import identifier

if TYPE_CHECKING:
    from collapsecheck.observe.probe import Probe
    from collapsecheck.scene import Scene


#: The `depth` of suspicions about the objective: behind the data, before how the training followed it and all layers.
OBJECTIVE = -0.7


class Status(StrEnum):
    """How sure a diagnosis is."""

    CONFIRMED = "confirmed"  # the symptom goes with the change, also on items it was not chosen on; a sham leaves it
    LIKELY = "likely"  # evidence that needs no experiment, or an experiment that helped in part
    REFUTED = "refuted"  # the change was made, and the symptom stayed, or a sham does the same
    UNTESTED = "untested"  # no experiment could be made, for a stated reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What to do. `snippet` is Python in today's API that names the user's own layers; `effect` tells side effects."""

    id: str
    title: str
    snippet: str = ""
    effect: str = ""
    reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """Why a cause may be at work, and where.

    `layer` is a key of `named_modules()`, "input" for the data, "" for the model as a whole; `depth` its place in the
    order of execution (−1 for the data), which decides between causes that explain the same. `known` marks evidence
    that needs no experiment, as missing weights do. `numbers` are what the evidence rests on.
    """

    layer: str
    depth: float
    evidence: str
    known: bool = False
    size: float = 1.0  # how much the experiment changes: the smallest sufficient change is the better explanation
    numbers: Mapping[str, Any] = field(default_factory=dict)
    roots: frozenset[str] = frozenset()  # layers at which whatever else is found follows from this
    together: tuple[str, ...] = ()  # causes without which this one would have done no harm


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervention:
    """One experiment: the probe without the cause, and with a sham change of the same size elsewhere.

    `change` says in one sentence what was altered. Without a `control` (there is nothing innocent of the same kind)
    the reason is in `uncontrolled`. `lesser` is a change that leaves the suspected cause as it is: where it is
    enough as well, not all was lost at that place, and the cause is never more than `likely`.
    """

    probe: Probe
    change: str
    control: Probe | None = None
    sham: str = ""
    uncontrolled: str = ""
    lesser: Probe | None = None
    lesser_change: str = ""
    treats: bool = False  # helps against the symptom without touching its cause: never more than `likely`
    repeats: bool = False  # the control repeats a training: without the symptom in it nothing can be told


class Cause(ABC):
    """One root cause. The file's name is its id; the class docstring is what `explain` prints."""

    explains: ClassVar[frozenset[Kind]]  # kinds of collapse it can bring about
    expected: ClassVar[bool] = False  # harmless, to be reported as a note
    symptomless: ClassVar[bool] = False  # a fault by itself, told even where no kind of collapse shows
    noted: ClassVar[bool] = False  # worth a note, as expected, where all checks passed; its suspicion is cheap then
    rehearsed: ClassVar[bool] = False  # its experiments train fresh copies: there are none without time for that
    by_training: ClassVar[bool] = False  # acts through what was learnt: its place is not where the symptom begins
    unrepeatable: ClassVar[bool] = False  # shows in that an item's embedding is not always the same: asked again then

    @property
    def id(self) -> str:
        """Kebab-case id, the same as the name of the file."""
        return identifier(type(self).__module__)

    @abstractmethod
    def suspect(self, scene: Scene) -> Iterator[Suspicion]:
        """Yield where this cause may be at work, the strongest first; nothing if it is not. Cheap."""

    def intervene(self, scene: Scene, suspicion: Suspicion) -> Iterator[Intervention]:
        """Yield experiments that remove the suspected cause, each of them sufficient to confirm it.

        What has to be fitted is fitted on `scene.find`; probes must hold the items of `scene.confirm`.
        """
        yield from ()

    @abstractmethod
    def remedies(self, scene: Scene, suspicion: Suspicion) -> Sequence[Remedy]:
        """What helps, the best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What an experiment, or its absence, says about one suspicion. Plain values only."""

    cause: str
    status: Status
    layer: str
    evidence: str
    change: str = ""
    before: Mapping[str, float] = field(default_factory=dict)
    after: Mapping[str, float] = field(default_factory=dict)
    control: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    also_sufficient: bool = False
    expected: bool = False
    treats: bool = False  # what was changed helps whatever the cause is, so that it explains nothing
    together: tuple[str, ...] = ()  # other causes that it took as well
    remedies: tuple[Remedy, ...] = ()
