"""Losses, as functions of embeddings: what a training asks of them. One file each in `losses`.

Which loss a checkpoint was trained with is not in its weights. The user states it, or the file names it; what it would
do to these embeddings is then computed, by the field's library where it has the loss (pytorch-metric-learning).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from collapsecheck.discovery import identifier
from collapsecheck.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

EXTRA = "pip install 'collapsecheck[trial]'"


class NotComputable(Exception):  # noqa: N818 - it is an answer, not an error
    """A loss that has no value on these items; the message says why."""


class Objective(ABC):
    """One loss. The file's name is its id, and a value of `--loss`; the class docstring says what it computes.

    Parameters
    ----------
    margin, temperature : settings of the training; None takes the usual ones, `MARGIN` and `TEMPERATURE`.
    """

    WORDS: ClassVar[tuple[str, ...]]  # how names of it are written elsewhere: lower case, letters and digits only
    LABELS: ClassVar[bool] = False  # compares items by their classes
    VIEWS: ClassVar[bool] = False  # compares two views of each item
    MARGIN: ClassVar[float | None] = None
    TEMPERATURE: ClassVar[float | None] = None
    TARGET: ClassVar[float | None] = None  # the value that the loss is meant to come to, where it has one
    NOTE: ClassVar[str] = ""  # what a reader has to know of how it is computed here

    def __init__(self, *, margin: float | None = None, temperature: float | None = None) -> None:
        self.margin = self.MARGIN if margin is None else margin
        self.temperature = self.TEMPERATURE if temperature is None else temperature

    @property
    def id(self) -> str:
        """Kebab-case id, the same as the name of the file."""
        return identifier(type(self).__module__)

    @property
    def needs_labels(self) -> bool:
        """Whether it has no value without labels."""
        return self.LABELS

    @property
    def shown(self) -> str:
        """Name with the settings it has, for people."""
        settings = {"margin": self.margin, "temperature": self.temperature}
        told = ", ".join(f"{name} {value:g}" for name, value in settings.items() if value is not None)
        return f"{self.id} ({told})" if told else self.id

    @abstractmethod
    def loss(self, rows: Tensor, labels: Tensor | None, views: Tensor | None) -> Tensor:
        """Value [] for embeddings [n, d], class numbers [n] and embeddings of other views of the same items [n, d]."""

    def __call__(self, rows: Tensor, labels: Tensor | None = None, views: Tensor | None = None) -> Tensor:
        """Mean loss over a batch, a scalar.

        Raises
        ------
        NotComputable
            If the batch lacks what the loss compares: labels, two of a class, two classes, a second view.
        """
        import torch

        if self.LABELS:
            if labels is None:
                raise NotComputable(f"{self.id} compares classes, and the data has no labels")
            counts = torch.unique(labels, return_counts=True)[1]
            if len(counts) < 2:
                raise NotComputable(f"{self.id} needs items of at least two classes, and all {len(rows)} are of one")
            if int(counts.max()) < 2:
                raise NotComputable(f"{self.id} needs two items of a class, and each of the {len(rows)} has its own")
        if self.VIEWS and views is None:
            raise NotComputable(f"{self.id} compares two views of an item, which cannot be made of this data")
        return self.loss(rows, labels, views)


def library() -> None:
    """Raise `NotComputable` where pytorch-metric-learning is not installed."""
    from importlib.util import find_spec

    if find_spec("pytorch_metric_learning") is None:
        raise NotComputable(f"this loss is computed by pytorch-metric-learning, which is not installed: {EXTRA}")


def all_objectives() -> dict[str, type[Objective]]:
    """Every loss by id."""
    from collapsecheck.discovery import plugins
    from collapsecheck.objectives import losses

    return plugins(losses, Objective)


def named(name: str) -> type[Objective] | None:
    """The loss that a name speaks of, as `TripletMarginLoss` does of triplets; None where it speaks of none."""
    known = all_objectives()
    if name in known:
        return known[name]
    letters = "".join(filter(str.isalnum, name.lower()))
    hits = [(len(word), kind) for kind in known.values() for word in kind.WORDS if word in letters]
    return max(hits, key=lambda hit: hit[0])[1] if hits else None


def recorded(
    name: str | None, *, margin: float | None = None, temperature: float | None = None, labelled: bool = True
) -> Objective | None:
    """The loss that a checkpoint names; None where it is not known here, or cannot be computed of this data."""
    kind = named(name) if name else None
    if kind is None or (kind.LABELS and not labelled):
        return None
    return kind(margin=margin, temperature=temperature)


def stated(
    name: str, *, margin: float | None = None, temperature: float | None = None, labelled: bool = True
) -> Objective:
    """The loss that a user states with `--loss`: a name, or `FILE_OR_MODULE:CALLABLE`.

    Parameters
    ----------
    labelled
        Whether the data has labels.

    Raises
    ------
    UsageError
        If there is no such loss, or if it needs labels and the data has none.
    """
    from collapsecheck.errors import printable
    from collapsecheck.objectives.user import UserObjective

    if ":" in name:
        found: Objective = UserObjective(name)
    else:
        kind = named(name)
        if kind is None:
            known = ", ".join(all_objectives())
            raise UsageError(
                f"--loss {printable(name)}: expected one of {known}, or your own as FILE_OR_MODULE:CALLABLE, "
                "a function of embeddings [n, d] (and labels [n]) that returns their mean loss"
            )
        found = kind(margin=margin, temperature=temperature)
    if not labelled and found.needs_labels:
        raise UsageError(
            f"--loss {printable(name)} compares items by their classes, and this data has no labels: give --labels "
            "FILE, class sub-folders, or a loss that needs none"
        )
    return found
