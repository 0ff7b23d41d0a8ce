"""Which model the weights belong to, and what of them would not fit; the only part of the stage that imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from collapsecheck.checkpoints import Checkpoint
from collapsecheck.checkpoints.state_dicts import Found, StateDict
from collapsecheck.discovery import plugins
from collapsecheck.errors import NotLoadableError
from collapsecheck.models import sources
from collapsecheck.models.alignment import Shapes, fits
from collapsecheck.models.architecture import Architecture, choose_architecture
from collapsecheck.models.sources import ModelSource
from collapsecheck.models.weights import Fit, best_fit, expected_shapes
from collapsecheck.reports.inspection import ArchitectureFacts

_COUNTERS = ("num_batches_tracked",)
_FOREIGN = ("total_ops", "total_params", "n_averaged")


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """What is known of the model: `weights` are those that fit it best, `names` how the model calls each of them.

    `kinds` are the classes of its layers, by the model's names.
    """

    facts: ArchitectureFacts
    weights: StateDict | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    prefixes: tuple[str, ...] = ()
    added_prefix: str = ""


def match(checkpoint: Checkpoint, found: Found | None, *, arch: str | None, model_def: str | None) -> Matched:
    """Name the model, build it without its weights, and see which of the names and shapes fit.

    Raises
    ------
    UsageError
        If `arch` or `model_def` is wrong.
    """
    asked = choose_architecture(model_def, arch)
    try:
        architecture = asked or _offered(checkpoint, found)
    except NotLoadableError as error:  # a scan would end here; there is more to be told about the file
        return Matched(facts=ArchitectureFacts(name=None, reason=str(error)))
    if architecture is None:
        reason = "the file does not tell, and the weights fit none that is known" if found else "there are no weights"
        return Matched(facts=ArchitectureFacts(name=None, reason=reason))
    reason = "as asked for" if asked is not None else architecture.reason
    facts = ArchitectureFacts(
        name=architecture.name, reason=reason, asked=asked is not None, assumed=architecture.assumed
    )
    try:
        expected = architecture.expected()
        if expected is None or found is None:
            return Matched(facts=facts)
        return _fitted(architecture, best_fit(found.usable, expected, architecture.renamed), facts)
    except NotLoadableError as error:
        facts = ArchitectureFacts(
            name=facts.name, reason=f"{reason}; {error}", asked=facts.asked, assumed=facts.assumed
        )
        return Matched(facts=facts)


def _offered(checkpoint: Checkpoint, found: Found | None) -> Architecture | None:
    known = sorted(plugins(sources, ModelSource).values(), key=lambda source: source.rank)
    offers = (source().offer(checkpoint, found, trusted=False) for source in known)
    return next((offer for offer in offers if offer is not None), None)


def _fitted(architecture: Architecture, fit: Fit, facts: ArchitectureFacts) -> Matched:
    module = architecture.build(fit.shapes(), complete=True)  # its memory is never touched
    expected = expected_shapes(module)
    fit = best_fit([fit.weights], expected, architecture.renamed)
    given = fit.shapes()
    missing = [name for name in expected if name not in given and _last(name) not in _COUNTERS]
    unexpected = [name for name in given if name not in expected and _last(name) not in _FOREIGN]
    return Matched(
        facts=ArchitectureFacts(
            name=architecture.name,
            reason=facts.reason,
            asked=facts.asked,
            assumed=architecture.assumed,
            missing_keys=tuple(name for name in missing if not name.startswith(architecture.optional)),
            unexpected_keys=tuple(name for name in unexpected if not name.startswith(architecture.ignorable)),
            mismatched_keys=tuple(_mismatched(given, expected)),
        ),
        weights=fit.weights,
        names=fit.alignment.names,
        kinds=_kinds(module),
        prefixes=fit.alignment.stripped,
        added_prefix=fit.alignment.added,
    )


def _mismatched(given: Shapes, expected: Shapes) -> list[str]:
    return [name for name, shape in given.items() if name in expected and not fits(shape, expected[name])]


def _kinds(module: nn.Module) -> dict[str, str]:
    return {name: type(one).__name__ for name, one in module.named_modules()}


def _last(name: str) -> str:
    return name.rpartition(".")[2]
