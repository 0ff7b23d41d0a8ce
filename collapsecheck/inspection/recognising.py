"""The model of weights that say nothing but their names and shapes: told from the shipped indices, without torch.

A scan would build the same model; here it is not built, since importing torch and torchvision takes ten times as long
as all the rest of an inspection.
"""

from __future__ import annotations

from collapsecheck.checkpoints import Checkpoint
from collapsecheck.checkpoints.state_dicts import Found
from collapsecheck.errors import NotLoadableError
from collapsecheck.inspection.matched import Matched, held_against
from collapsecheck.recognition.alignment import Shapes, is_counter
from collapsecheck.recognition.choice import LIBRARIES, recognised
from collapsecheck.recognition.fitting import Fit, best_fit
from collapsecheck.recognition.index import Known, shipped
from collapsecheck.recognition.match import Match
from collapsecheck.recognition.wording import assumptions, reason
from collapsecheck.reports.inspection import ArchitectureFacts

UNKNOWN = "the file does not tell, and the weights fit none that is known"


def is_bare(checkpoint: Checkpoint, found: Found | None) -> bool:
    """Whether a file holds weights, and nothing that could say what they belong to."""
    if found is None or checkpoint.runs_code or checkpoint.describes_model:
        return False
    return all(one.module is None for one in found.usable)


def recognise(found: Found) -> Matched:
    """Name the model that bare weights are of, and hold them against it."""
    for library in LIBRARIES:
        try:
            match = recognised(found, library)
        except NotLoadableError as error:  # a scan would end here; there is more to be told about the file
            return Matched(facts=ArchitectureFacts(name=None, reason=str(error)))
        if match is not None:
            return _held_against(match, library, found)
    return Matched(facts=ArchitectureFacts(name=None, reason=UNKNOWN))


def _held_against(match: Match, library: str, found: Found) -> Matched:
    index = shipped(library)
    known = next(one for one in index.known if (one.name, len(one.pairs)) == (match.name, match.of)) if index else None
    facts = ArchitectureFacts(name=f"{library} {match.name}", reason=reason(match), assumed=assumptions(match))
    if known is None:
        return Matched(facts=facts)
    fit = best_fit(found.usable, _expected(known, match), match.renamed)
    return held_against(
        _followed(_expected(known, match), known, fit),
        fit,
        facts,
        known.modules,
        ignorable=(*match.foreign, *match.outside),
    )


def _expected(known: Known, match: Match) -> Shapes:
    """Shapes for the number of classes in the file, or without the head that it has not."""
    shapes = known.with_classes(match.classes)
    if not match.headless:
        return shapes
    return {name: shape for name, shape in shapes.items() if not f"{name}.".startswith(f"{match.headless}.")}


def _followed(expected: Shapes, known: Known, fit: Fit) -> Shapes:
    """Let what depends on the size of images and their channels be as in the file, as the built model would.

    Counters of normalisations, which the index leaves out, are where the file has them.
    """
    free = {known.stem, *(name for name, _ in known.resizable)}
    given = fit.shapes()
    counters = {name: None for name in given if is_counter(name) and name.rpartition(".")[0] in known.modules}
    return {
        **{name: given.get(name, shape) if name in free else shape for name, shape in expected.items()},
        **counters,
    }
