"""Weights held against a model: which names and shapes would not fit it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from collapsecheck.checkpoints.state_dicts import StateDict
from collapsecheck.recognition.alignment import Shapes, fits, is_counter, is_foreign
from collapsecheck.recognition.fitting import Fit
from collapsecheck.reports.inspection import ArchitectureFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """What is known of the model: `weights` are those that fit it best, `names` how the model calls each of them.

    `kinds` are the classes of its layers, by the model's names and in its order.
    """

    facts: ArchitectureFacts
    weights: StateDict | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    prefixes: tuple[str, ...] = ()
    added_prefix: str = ""


def held_against(
    expected: Shapes,
    fit: Fit,
    facts: ArchitectureFacts,
    kinds: Mapping[str, str],
    *,
    optional: tuple[str, ...] = (),
    ignorable: tuple[str, ...] = (),
) -> Matched:
    """Compare the weights that fit best with what a model expects.

    Parameters
    ----------
    expected
        Shapes of the model's weights, once it has followed those of the file as far as it can.
    fit
        The weights, and their names in the model.
    facts
        What is known of the model; the keys that do not fit are added.
    kinds
        Classes of its layers.
    optional, ignorable
        Beginnings of names that may be missing, and of those that may be left over.
    """
    given = fit.shapes()
    missing = [name for name in expected if name not in given and not is_counter(name)]
    unexpected = [name for name in given if name not in expected and not is_foreign(name)]
    mismatched = [name for name, shape in given.items() if name in expected and not fits(shape, expected[name])]
    return Matched(
        facts=replace(
            facts,
            missing_keys=tuple(name for name in missing if not name.startswith(optional)),
            unexpected_keys=tuple(name for name in unexpected if not name.startswith(ignorable)),
            mismatched_keys=tuple(mismatched),
        ),
        weights=fit.weights,
        names=fit.alignment.names,
        kinds=kinds,
        prefixes=fit.alignment.stripped,
        added_prefix=fit.alignment.added,
    )
