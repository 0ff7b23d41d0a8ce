"""Which of the sets of weights in a file fit a model best, and under which names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from collapsecheck.checkpoints.state_dicts import StateDict
from collapsecheck.recognition.alignment import Alignment, Shapes, align, stored_shapes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A set of weights and how its names become those of the module."""

    weights: StateDict
    alignment: Alignment

    def shapes(self) -> Shapes:
        """Shapes by the names of the module."""
        names = self.alignment.names
        return {names[name]: shape for name, shape in stored_shapes(self.weights.tensors).items()}


def best_fit(usable: Sequence[StateDict], expected: Shapes, renamed: Mapping[str, str] | None = None) -> Fit:
    """Choose the weights of which most fit; then those with fewest left over; then the first."""
    fitted = [Fit(weights=one, alignment=align(stored_shapes(one.tensors), expected, renamed)) for one in usable]

    def quality(fit: Fit) -> tuple[int, int]:
        matched = fit.alignment.matched
        return matched, -fit.alignment.unexpected if matched else 0

    return max(fitted, key=quality)
