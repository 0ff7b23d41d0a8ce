"""The few numbers of a training that bear on a collapse: rate, weight decay, loss, margin, last value of the loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from collapsecheck.checkpoints.optimiser_kinds import steps_by_rate
from collapsecheck.checkpoints.optimisers import Optimiser
from collapsecheck.checkpoints.plain_values import number
from collapsecheck.checkpoints.training_state import TrainingState
from collapsecheck.errors import printable

_RATE = ("lr", "learning_rate", "base_lr", "max_lr")
_DECAY = ("weight_decay", "wd", "l2", "weight_decay_rate")
_MARGIN = ("margin", "triplet_margin")
_LOSS = ("loss", "loss_name", "loss_type", "loss_fn", "criterion", "objective")
_DEEPEST = 4
_LONGEST = 60  # characters of a name that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a model was trained, as far as its file or its user tells; None is what nobody tells.

    `rate` and `weight_decay` are the largest of any group of parameters, `kind` the optimiser as `kind_of` names it.
    `loss` is a name, fit to be shown, `last_loss` the value of it that was saved last.
    """

    kind: str | None = None
    rate: float | None = None
    weight_decay: float | None = None
    steps: float | None = None
    loss: str | None = None
    margin: float | None = None
    last_loss: float | None = None

    @property
    def adaptive(self) -> bool:
        """Whether the optimiser moves every weight by about its rate in each step, however small the gradient is."""
        return self.kind is not None and steps_by_rate(self.kind)

    def speaks_of(self, *words: str) -> bool:
        """Whether the name of the loss contains one of these words, however it is written."""
        name = "".join(filter(str.isalnum, (self.loss or "").lower()))
        return any(word in name for word in words)

    def stated(self, *, loss: str | None = None, margin: float | None = None, last_loss: float | None = None) -> Recipe:
        """The same, with what the user says in place of what the file tells."""
        return replace(
            self,
            loss=printable(loss, _LONGEST) if loss else self.loss,
            margin=self.margin if margin is None else margin,
            last_loss=self.last_loss if last_loss is None else last_loss,
        )


def recipe_of(training: TrainingState) -> Recipe:
    """Pick them out of the state of the optimiser, and where that is missing out of hyper-parameters."""
    optimiser = training.optimisers[0] if training.optimisers else None
    settings = dict(_flat(training.hyper_parameters, _DEEPEST))
    return Recipe(
        kind=optimiser.kind if optimiser is not None else None,
        rate=_largest(optimiser, "lr", "initial_lr") or _first_number(settings, _RATE),
        weight_decay=_largest(optimiser, "weight_decay") or _first_number(settings, _DECAY),
        steps=optimiser.steps[1] if optimiser is not None and optimiser.steps else training.step,
        loss=next((printable(value, _LONGEST) for name in _LOSS if isinstance(value := settings.get(name), str)), None),
        margin=_first_number(settings, _MARGIN),
        last_loss=float(training.last_loss) if training.last_loss is not None else None,
    )


def _largest(optimiser: Optimiser | None, *names: str) -> float | None:
    groups = optimiser.groups if optimiser is not None else ()
    found = [value for group in groups for name in names if (value := number(group.settings.get(name))) is not None]
    return float(max(found)) if found else None


def _first_number(settings: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    found = next((value for name in names if (value := number(settings.get(name))) is not None), None)
    return float(found) if found is not None else None


def _flat(settings: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield names and values at any depth, the outer ones last, so that they win."""
    if not isinstance(settings, Mapping):
        return
    for value in settings.values():
        if depth:
            yield from _flat(value, depth - 1)
    for name, value in settings.items():
        if isinstance(name, str) and not isinstance(value, Mapping):
            yield name.lower(), value
