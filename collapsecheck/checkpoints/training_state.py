"""What a training checkpoint tells beside its weights: how far training was, with what, and what was left behind.

It is evidence, not proof: a file may hold whatever its writer put there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from collapsecheck.checkpoints.moments import Moments, read_moments
from collapsecheck.checkpoints.normalisation_statistics import RunningStatistics, read_running_statistics
from collapsecheck.checkpoints.optimisers import Optimiser, find_optimisers, read_optimiser
from collapsecheck.checkpoints.plain_values import number, plain
from collapsecheck.checkpoints.records import Stand
from collapsecheck.checkpoints.state_dicts import Found

_EPOCH = ("epoch", "epochs", "current_epoch", "last_epoch", "start_epoch")
_STEP = ("global_step", "step", "steps", "iteration", "iter", "it", "n_iter", "num_updates")
_LOSS = ("loss", "last_loss", "train_loss", "training_loss")
_SCHEDULER = ("scheduler", "sched", "lr_scheduler", "lr_schedulers", "schedulers", "lr_sched")
_SCALER = ("scaler", "grad_scaler", "amp_scaler", "loss_scaler", "amp", "native_amp_scaling_state", "MixedPrecision")
_SETTINGS = ("hyper_parameters", "hparams", "args", "config", "cfg", "opt", "hyperparameters")
_NESTED = ("meta", "trainer", "training", "train_state", "state")
_LIGHTNING = "pytorch-lightning_version"
_MOST_SCHEDULERS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """A learning rate scheduler: `last_rates` are the rates by group that it set last."""

    key: str
    last_epoch: int | float | None
    last_rates: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingState:
    """How the weights came to be, as far as the file tells. Names and texts out of it are as they are: escape them.

    `epoch`, `step` and `last_loss` are the numbers saved under these or similar names. `hyper_parameters` are plain
    values by the entry they were in. `scaler` is the state of mixed precision. `averaged` are the places of moving
    averages of weights, which are not used unless asked for. `moments` are by optimiser, in their order, and empty
    unless asked for.
    """

    epoch: int | float | None = None
    step: int | float | None = None
    last_loss: int | float | None = None
    optimisers: tuple[Optimiser, ...] = ()
    schedulers: tuple[Scheduler, ...] = ()
    lightning_version: str | None = None
    hyper_parameters: Mapping[str, Any] = field(default_factory=dict)
    scaler: Mapping[str, Any] = field(default_factory=dict)
    averaged: tuple[str, ...] = ()
    running_statistics: tuple[RunningStatistics, ...] = ()
    moments: tuple[tuple[Moments, ...], ...] = ()

    @property
    def known(self) -> bool:
        """Whether the file tells anything about the training."""
        return any((
            self.epoch is not None, self.step is not None, self.last_loss is not None, self.optimisers,
            self.schedulers, self.lightning_version, self.hyper_parameters, self.scaler, self.averaged,
            self.running_statistics,
        ))  # fmt: skip


def read_training_state(
    content: Any, found: Found | None = None, *, key: str | None = None, moments: bool = False
) -> TrainingState:
    """Collect what nested content tells about the training; never raises for what it says, whatever that is.

    Parameters
    ----------
    content
        What the checkpoint holds.
    found
        The weights in it, None where there are none.
    key
        Which of these are in use; the first without.
    moments
        Read the moments of the optimisers too, all of their numbers.

    Raises
    ------
    NotLoadableError
        If the file changed or cannot be read any more.
    """
    usable = found.usable if found is not None else ()
    chosen = next((one for one in usable if one.key == key), usable[0] if usable else None)
    weights = chosen.tensors if chosen is not None else {}
    top = content if isinstance(content, Mapping) else {}
    optimisers = find_optimisers(top)
    version = top.get(_LIGHTNING)
    return TrainingState(
        epoch=_first_number(top, _EPOCH),
        step=_first_number(top, _STEP),
        last_loss=_first_number(top, _LOSS),
        optimisers=tuple(read_optimiser(one, weights) for one in optimisers),
        schedulers=_schedulers(top),
        lightning_version=version[:40] if isinstance(version, str) else None,
        hyper_parameters=_settings(top),
        scaler=_scaler(top),
        averaged=found.averaged if found is not None else (),
        running_statistics=read_running_statistics(weights),
        moments=tuple(read_moments(one, weights) for one in optimisers) if moments else (),
    )


def traces_of_training(name: Any, held: Any, training: TrainingState) -> bool:
    """Whether an entry at the top of a checkpoint is among what `training` was made of."""
    if name in (_LIGHTNING, *_SETTINGS, *_SCALER) or name in (*_SCHEDULER, "callbacks", "loops", "param_groups"):
        return True
    if name in (*_EPOCH, *_STEP, *_LOSS):
        return number(held) is not None
    return any(f"{one.key}.".startswith(f"{name}.") or not one.key for one in training.optimisers)


def _first_number(top: Mapping[Any, Any], names: tuple[str, ...]) -> int | float | None:
    for held in (top, *(top.get(name) for name in _NESTED)):
        if not isinstance(held, Mapping):
            continue
        for name in names:
            value = number(held.get(name))
            if value is not None:
                return value
    return None


def _schedulers(top: Mapping[Any, Any]) -> tuple[Scheduler, ...]:
    """Read schedulers, wherever a name says so; a `scheduler.pt` of its own has `last_epoch` at the top."""
    places: list[tuple[str, Any]] = [("", top)] if "_last_lr" in top else []
    for name in _SCHEDULER:
        held = top.get(name)
        held = held.state if isinstance(held, Stand) else held
        if isinstance(held, list | tuple):
            places += [(f"{name}.{index}", one) for index, one in enumerate(held[:_MOST_SCHEDULERS])]
        elif isinstance(held, Mapping):
            inner = [(f"{name}.{key}", one) for key, one in islice(held.items(), 100) if isinstance(one, Mapping)]
            places += [(name, held)] if "last_epoch" in held or not inner else inner
    found = []
    for key, one in places[:_MOST_SCHEDULERS]:
        held = one.state if isinstance(one, Stand) else one
        if not isinstance(held, Mapping):
            continue
        rates = held.get("_last_lr")
        kept = [number(rate) for rate in rates[:100]] if isinstance(rates, list | tuple) else []
        epoch = number(held.get("last_epoch"))
        if epoch is not None or kept:
            found.append(
                Scheduler(key=key, last_epoch=epoch, last_rates=tuple(rate for rate in kept if rate is not None))
            )
    return tuple(found)


def _settings(top: Mapping[Any, Any]) -> Mapping[str, Any]:
    """Return hyper-parameters as plain values; tensors under such a name are something else."""
    found = {}
    for name in _SETTINGS:
        held = top.get(name)
        if isinstance(held, Mapping) and "param_groups" in held:
            continue  # `opt` is an optimiser as often
        if isinstance(held, Mapping | Stand) or (isinstance(held, str) and held):
            shown = plain(held)
            if shown:
                found[name] = shown
    return found


def _scaler(top: Mapping[Any, Any]) -> Mapping[str, Any]:
    for name in _SCALER:
        held = top.get(name)
        if isinstance(held, Mapping) and ("scale" in held or "_scale" in held or "loss_scale" in held):
            shown = plain(held)
            return shown if isinstance(shown, dict) else {}
    return {}
