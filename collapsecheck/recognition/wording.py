"""What people read about a recognised model: why it is the one, and what its weights do not tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collapsecheck.errors import printable
from collapsecheck.recognition.match import Match

_SHOWN = 3


def reason(match: Match) -> str:
    """Say in a few words what fits, and what is not as published."""
    return "; ".join(_reasons(match))


def _reasons(match: Match) -> Iterator[str]:
    what = "shapes in the order of" if match.kind == "given-order" else "names and shapes match"
    yield f"{what} {match.name}"
    if match.classes is not None:
        yield f"{match.classes} {'class' if match.classes == 1 else 'classes'}"
    if match.channels is not None:
        yield f"{match.channels} input {'channel' if match.channels == 1 else 'channels'}"
    if match.resized:
        yield "another size of images"
    if match.headless:
        yield f"without its {match.headless}"
    if match.foreign:
        yield f"beside {listed(match.foreign)}"


def assumptions(match: Match) -> tuple[str, ...]:
    """List what was taken for granted."""
    return tuple(_assumptions(match))


def _assumptions(match: Match) -> Iterator[str]:
    if match.untold:
        *first, last = match.untold
        yield f"{', '.join(first)}{' and ' if first else ''}{last} as in {match.name}"
    if match.kind == "given-order":
        yield "that weights of the same shapes in the same order belong to the same layers"
    if match.outside:
        place = f"at {printable(match.prefix.removesuffix('.'), 60)}" if match.prefix else "named here"
        yield f"that the model {place} is meant; {listed(match.outside)} is left out"
    if match.foreign:
        yield f"that {listed(match.foreign)} comes after the embedding"


def listed(names: Sequence[str]) -> str:
    """Show the first of several beginnings of names, without their last dot."""
    shown = ", ".join(printable(name.removesuffix("."), 60) for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
