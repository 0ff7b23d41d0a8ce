"""The model that the user names, or the file brings along; the only part of the stage that imports torch."""

from __future__ import annotations

from dataclasses import replace

from collapsecheck.checkpoints import Checkpoint
from collapsecheck.checkpoints.state_dicts import Found
from collapsecheck.discovery import plugins
from collapsecheck.errors import NotLoadableError
from collapsecheck.inspection.matched import Matched, held_against
from collapsecheck.inspection.recognising import UNKNOWN
from collapsecheck.models import sources
from collapsecheck.models.architecture import Architecture, choose_architecture
from collapsecheck.models.sources import ModelSource
from collapsecheck.models.weights import expected_shapes
from collapsecheck.recognition.fitting import Fit, best_fit
from collapsecheck.reports.inspection import ArchitectureFacts


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
        return Matched(facts=ArchitectureFacts(name=None, reason=UNKNOWN if found else "there are no weights"))
    facts = ArchitectureFacts(
        name=architecture.name,
        reason="as asked for" if asked is not None else architecture.reason,
        asked=asked is not None,
        assumed=architecture.assumed,
    )
    try:
        expected = architecture.expected()
        if expected is None or found is None:
            return Matched(facts=facts)
        return _fitted(architecture, best_fit(found.usable, expected, architecture.renamed), facts)
    except NotLoadableError as error:
        return Matched(facts=replace(facts, reason=f"{facts.reason}; {error}"))


def _offered(checkpoint: Checkpoint, found: Found | None) -> Architecture | None:
    known = sorted(plugins(sources, ModelSource).values(), key=lambda source: source.rank)
    offers = (source().offer(checkpoint, found, trusted=False) for source in known)
    return next((offer for offer in offers if offer is not None), None)


def _fitted(architecture: Architecture, fit: Fit, facts: ArchitectureFacts) -> Matched:
    module = architecture.build(fit.shapes(), complete=True)  # its memory is never touched
    expected = expected_shapes(module)
    return held_against(
        expected,
        best_fit([fit.weights], expected, architecture.renamed),
        facts,
        {name: type(one).__name__ for name, one in module.named_modules()},
        optional=architecture.optional,
        ignorable=architecture.ignorable,
    )
