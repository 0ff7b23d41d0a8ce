"""What a child says of its model, checked for its form: the child may be hostile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from collapsecheck.errors import printable
from collapsecheck.models.child.framing import Frame

_MOST_LAYERS = 100_000
_LONGEST_NAME = 500
_MOST_ITEMS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a child says of its model; of the right form, but not for that true.

    `batch` are the smallest and the largest number of items that it takes at once; `layers` are (name, class);
    `channels`, `sound_channels` and `token_ids` are those of `datasets.model_input.ModelInput`; `held` are the limits
    that hold for the child, in words.
    """

    type: str
    parameters: int
    batch: tuple[int, int | None] | None
    layers: tuple[tuple[str, str], ...]
    channels: int | None
    sound_channels: int | None
    token_ids: bool
    held: tuple[str, ...]


def facts_of(frame: Frame) -> Facts | None:
    """Return what is in a frame `ready`, None if it is none, or not as it must be."""
    told = frame.value
    if frame.kind != "ready" or not isinstance(told, dict):
        return None
    layers, batch, held = _layers(told.get("layers")), told.get("batch"), told.get("held")
    if layers is None or not (batch is None or _is_range(batch)):
        return None
    return Facts(
        type=printable(str(told.get("type")), 100),
        parameters=_number(told.get("parameters")) or 0,
        batch=None if batch is None else (batch[0], batch[1]),
        layers=layers,
        channels=_number(told.get("channels")),
        sound_channels=_number(told.get("sound_channels")),
        token_ids=told.get("token_ids") is True,
        held=tuple(printable(str(one), 60) for one in held[:10]) if isinstance(held, list) else (),
    )


def _layers(told: Any) -> tuple[tuple[str, str], ...] | None:
    """Return the layers if they make a tree, each after the one that it is in."""
    if not isinstance(told, list) or len(told) > _MOST_LAYERS:
        return None
    names = {""}
    for layer in told:
        if not (isinstance(layer, list) and len(layer) == 2 and all(isinstance(one, str) for one in layer)):
            return None
        name = layer[0]
        if not name or len(name) > _LONGEST_NAME or name in names or name.rpartition(".")[0] not in names:
            return None
        names.add(name)
    return tuple((name, kind) for name, kind in told)


def _is_range(told: Any) -> bool:
    if not isinstance(told, list) or len(told) != 2 or type(told[0]) is not int or not 0 <= told[0] <= _MOST_ITEMS:
        return False
    return told[1] is None or (type(told[1]) is int and told[1] >= max(told[0], 1))


def _number(told: Any) -> int | None:
    return told if type(told) is int and 0 <= told < 1 << 48 else None
