"""What torch.jit.save writes: the model as code, beside a pickle with its weights."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from collapsecheck.checkpoints.archived_pickle import read_archived
from collapsecheck.checkpoints.formats import CheckpointFormat, Contents, SafetyNote
from collapsecheck.checkpoints.scripted_classes import PREFIX, is_module_class, scripted_classes
from collapsecheck.checkpoints.scripted_weights import scripted_weights
from collapsecheck.checkpoints.stored import StoredTensor
from collapsecheck.checkpoints.zip_archive import Archive, kind_of_zip, open_archive

_CODE = SafetyNote(
    id="contains-code",
    message="holds the model as code, TorchScript, which runs when it is loaded; only its numbers were read",
)
_FROZEN = SafetyNote(
    id="frozen-module",
    message="the module was frozen: its weights are constants of its code, without the names that they had",
)
_UNREAD = SafetyNote(id="no-readable-weights", message="has no weights that can be read without running it")


class Torchscript(CheckpointFormat):
    """A scripted, traced or frozen module: its weights are read inertly; its code is looked at, never run."""

    runs_code: ClassVar[bool] = True

    def recognises(self, head: bytes, path: Path) -> bool:
        """A zip file with constants beside the data, as only TorchScript has."""
        return head.startswith(b"PK") and kind_of_zip(path) == "torchscript"

    def read(self, path: Path) -> Contents:
        """Return what `state_dict()` of the loaded module would; of a frozen one its constants, as `constants.N`.

        The metadata has `layers`, the class of every layer by its path, and `unsaved`, the names of tensors that are
        attributes only. Where modules save themselves by code of their own, there may be no weights to read: the
        content is empty then, and a note says so.
        """
        archive = open_archive(path)
        pickled = read_archived(archive, "data.pkl", "data", own=f"{PREFIX}.")
        classes = scripted_classes(archive, filter(is_module_class, pickled.names))
        module = scripted_weights(pickled.value, classes)
        notes = [_CODE, *pickled.notes]
        content = dict(module.tensors)
        if not content:
            content = _constants(archive)
            notes.append(_FROZEN if content else _UNREAD)
        return Contents(
            content=content,
            metadata={"layers": dict(module.layers), "unsaved": tuple(module.plain)},
            notes=tuple(notes),
            files=(path,),
        )


def _constants(archive: Archive) -> dict[str, StoredTensor]:
    value = read_archived(archive, "constants.pkl", "constants", own=f"{PREFIX}.").value
    held = value if isinstance(value, tuple) else ()
    return {f"constants.{index}": one for index, one in enumerate(held) if isinstance(one, StoredTensor)}
