"""From a checkpoint's sets of weights to the one architecture that they belong to."""

from __future__ import annotations

from collections.abc import Sequence

from collapsecheck.checkpoints.state_dicts import Found
from collapsecheck.errors import NotLoadableError, printable
from collapsecheck.recognition.alignment import Shapes, stored_shapes
from collapsecheck.recognition.index import Index
from collapsecheck.recognition.installed import installed_index, release
from collapsecheck.recognition.match import Match
from collapsecheck.recognition.matching import matches
from collapsecheck.recognition.order import matches_in_order

_SETS = 8  # of weights that are looked at
_LISTED = 6
_NEAR = 0.5  # score from which a relative is worth a word


_OPTIONS = {"torchvision": "--arch ", "timm": "--arch timm:"}
#: Whose models are known, in the order in which they are asked: where both have a model, it is torchvision's.
LIBRARIES = tuple(_OPTIONS)


def recognised(found: Found, library: str) -> Match | None:
    """Return the model of a library that the weights are of, None if they are of none.

    Raises
    ------
    NotLoadableError
        If several models fit alike, or the library is not installed.
    """
    index = installed_index(library)
    match = the_one(recognise(found, index), library, _OPTIONS[library]) if index is not None else None
    if match is not None and not release(library):
        raise NotLoadableError(
            f"the weights are those of {library}'s {match.name}, but {library} is not installed; pip install "
            f"'collapsecheck[{library}]', or build the model with --model-def FILE:CALLABLE"
        )
    return match


def recognise(found: Found, index: Index) -> list[Match]:
    """Return what the preferred weights are of, of those that are recognised; all candidates if several fit alike.

    Order of shapes is asked only where no names are known.
    """
    sets = [_shapes(found, number) for number in range(min(_SETS, len(found.usable)))]
    for compare in (matches, matches_in_order):
        for shapes in sets:
            alike = [match for match in compare(shapes, index) if match.sound]
            if alike:
                return alike
    return []


def nearest(found: Found, index: Index) -> Match | None:
    """Return what the preferred weights come near to without being it, None if there is nothing to speak of."""
    near = matches(_shapes(found, 0), index)
    return near[0] if near and near[0].kind == "partial" and near[0].score >= _NEAR else None


def the_one(alike: Sequence[Match], library: str, option: str) -> Match | None:
    """Return the only match, None if there is none.

    Parameters
    ----------
    alike
        What fits equally well.
    library
        Whose names these are, for people.
    option
        What is put before a name to choose it: `--arch `.

    Raises
    ------
    NotLoadableError
        If there are several, with what would decide.
    """
    if len(alike) < 2:
        return alike[0] if alike else None
    names = sorted(match.name for match in alike)
    shown = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
    raise NotLoadableError(
        f"the weights fit {len(names)} models of {library} alike ({printable(shown, 400)}), which differ in what "
        f"weights do not tell; choose with {option}{names[0]} or {option}{names[1]}{', …' if len(names) > 2 else ''}"
    )


def _shapes(found: Found, number: int) -> Shapes:
    return stored_shapes(found.usable[number].tensors)
