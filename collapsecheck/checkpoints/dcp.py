"""The content of a torch.distributed.checkpoint: tensors joined from their parts, nested as they were saved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collapsecheck.checkpoints.dcp_metadata import Metadata, Place, TensorEntry
from collapsecheck.checkpoints.embedded_zip import embedded_value
from collapsecheck.checkpoints.formats import SafetyNote
from collapsecheck.checkpoints.joined import Chunk, JoinedTensor
from collapsecheck.checkpoints.stored import StoredTensor
from collapsecheck.errors import NotLoadableError, printable

if TYPE_CHECKING:
    import torch

_DEEPEST = 32
_LARGEST_VALUE = 1 << 20  # bytes of a number or a dict beside the tensors, as torch.save writes it
_MOST_VALUES = 20_000
_TWICE = "the file .metadata has two entries for {}; save or copy it again"
# Without the keys that led to them, names such as "optimizer.state.0.exp_avg" are all that is left.
_STATE_OF_TRAINING = re.compile(r"optim|(?:lr_)?sched|scaler|callbacks|loops")


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class StoredChunk(Chunk):
    """A part of a tensor in a `.distcp` file: a zip file of torch.save that holds one tensor."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    place: Place

    def tensor(self) -> torch.Tensor:
        """Return the numbers of the part, mapped into memory."""
        value, _ = embedded_value(self.place.file, self.place.offset, self.place.length)
        if not isinstance(value, StoredTensor):
            raise NotLoadableError("a part of a tensor is no tensor; the file is damaged, save or copy it again")
        return value.tensor()


def joined_tensors(metadata: Metadata) -> dict[str, StoredTensor]:
    """Return the tensors by flattened name; their parts are opened when their numbers are asked for.

    Raises
    ------
    NotLoadableError
        If parts are missing, do not fit together, or declare more bytes than there are.
    """
    found: dict[str, StoredTensor] = {}
    for name, entry in metadata.entries.items():
        if entry is None:
            continue
        try:
            found[name] = _joined(name, entry, metadata)
        except NotLoadableError as error:
            raise NotLoadableError(f"the tensor {printable(name, 80)}: {error}") from error
    there = sum(file.stat().st_size for file in {place.file for place in metadata.places.values()})
    declared = sum(tensor.nbytes for tensor in found.values())
    if declared > there:
        raise NotLoadableError(
            f"the tensors declare {declared:,} bytes, the files have {there:,}; "
            "the checkpoint is damaged, save or copy it again"
        )
    return found


def other_values(metadata: Metadata) -> tuple[dict[str, Any], tuple[SafetyNote, ...]]:
    """Return what is no tensor, such as the number of the epoch, by flattened name; read as data.

    Raises
    ------
    NotLoadableError
        If one is damaged, or names what could only be an attack.
    """
    found: dict[str, Any] = {}
    notes: dict[SafetyNote, None] = {}
    left: list[str] = []
    for name in (name for name, entry in metadata.entries.items() if entry is None):
        place = metadata.places.get((name, None))
        if place is None or place.length > _LARGEST_VALUE or len(found) >= _MOST_VALUES:
            left.append(name)
            continue
        try:
            found[name], noted = embedded_value(place.file, place.offset, place.length)
        except NotLoadableError as error:
            raise NotLoadableError(f"the entry {printable(name, 80)}: {error}") from error
        notes |= dict.fromkeys(noted)
    if left:
        message = "holds entries that are no tensors, and larger or more than is needed; they were left out"
        notes[SafetyNote(id="unread-entries", message=message, names=tuple(left))] = None
    return found, tuple(notes)


def nested(flat: Mapping[str, Any], paths: Mapping[str, tuple[str | int, ...]]) -> dict[Any, Any]:
    """Undo the flattening: `{"model.head.weight": t}` becomes `{"model": {"head.weight": t}}`.

    `paths` are the keys that led to each name; a name without them stays at the top, unless it is one of the state
    of an optimizer or the like.

    Raises
    ------
    NotLoadableError
        If the keys contradict one another.
    """
    top = _Branch()
    for name, value in flat.items():
        first, _, rest = name.partition(".")
        path = paths.get(name) or ((first, rest) if rest and _STATE_OF_TRAINING.match(first) else (name,))
        if len(path) > _DEEPEST:
            raise NotLoadableError(f"{printable(name, 80)} is nested more than {_DEEPEST} deep; save the weights alone")
        holder = top
        for key in path[:-1]:
            holder = holder.setdefault(key, _Branch())
            if not isinstance(holder, _Branch):  # a value that was saved, not one of these dicts
                raise NotLoadableError(_TWICE.format(printable(name, 80)))
        if path[-1] in holder:
            raise NotLoadableError(_TWICE.format(printable(name, 80)))
        holder[path[-1]] = value
    _restore_lists(top)
    return top


class _Branch(dict[Any, Any]):
    """A dict that the flattening took apart; a list becomes one with the keys 0, 1, 2 at first."""


def _restore_lists(top: _Branch) -> None:
    branches = [top]
    for branch in branches:  # it grows while it is gone through
        branches += [inner for inner in branch.values() if isinstance(inner, _Branch)]
    for branch in reversed(branches):  # the innermost first
        for key, inner in branch.items():
            if not isinstance(inner, _Branch) or not all(type(one) is int for one in inner):
                continue
            if sorted(inner) == list(range(len(inner))):
                branch[key] = [inner[index] for index in range(len(inner))]


def _joined(name: str, entry: TensorEntry, metadata: Metadata) -> JoinedTensor:
    chunks = []
    for offsets, sizes in entry.chunks:
        place = metadata.places.get((name, offsets))
        if place is None:
            raise NotLoadableError(f"the part at {list(offsets)} is missing; copy the files of all ranks")
        chunks.append(StoredChunk(offsets=offsets, sizes=sizes, place=place))
    return JoinedTensor(dtype=entry.dtype, shape=entry.shape, chunks=tuple(chunks))
