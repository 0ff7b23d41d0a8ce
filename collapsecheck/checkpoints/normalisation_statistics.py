"""Whether the running statistics of normalisation layers were ever updated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from collapsecheck.checkpoints.stored import StoredTensor
from collapsecheck.checkpoints.stored_numbers import MOST, one_number, small_numbers

_MOST_LAYERS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningStatistics:
    """A layer with `running_mean` and `running_var`, such as BatchNorm.

    `batches` is `num_batches_tracked`, the number of batches in training mode, None where the file lacks it.
    `initial` says that every mean is exactly 0 and every variance exactly 1, as when the layer was made; None where
    it was not looked at.
    """

    name: str
    batches: int | None
    initial: bool | None

    @property
    def never_updated(self) -> bool:
        """Whether the layer normalises by what it was made with, not by what it has seen."""
        return self.initial is True and not self.batches


def read_running_statistics(weights: Mapping[str, Any]) -> tuple[RunningStatistics, ...]:
    """Look at all layers with running statistics; reads these, which are small, and nothing else.

    Raises
    ------
    NotLoadableError
        If the file changed or cannot be read any more.
    """
    found = []
    for name, mean in weights.items():
        layer, _, last = name.rpartition(".")
        prefix = f"{layer}." if layer else ""
        variance = weights.get(f"{prefix}running_var")
        if last != "running_mean" or not isinstance(mean, StoredTensor) or not isinstance(variance, StoredTensor):
            continue
        counter = weights.get(f"{prefix}num_batches_tracked")
        batches = one_number(counter) if isinstance(counter, StoredTensor) and not counter.is_floating_point else None
        found.append(
            RunningStatistics(
                name=layer, batches=None if batches is None else int(batches), initial=_is_initial(mean, variance)
            )
        )
        if len(found) >= _MOST_LAYERS:
            break
    return tuple(found)


def _is_initial(mean: StoredTensor, variance: StoredTensor) -> bool | None:
    if not mean.numel or not variance.numel or max(mean.numel, variance.numel) > MOST:
        return None
    means, variances = small_numbers(mean), small_numbers(variance)
    if means is None or variances is None:
        return None
    return not any(means) and all(value == 1 for value in variances)
