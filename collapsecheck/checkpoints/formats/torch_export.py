"""What torch.export.save writes (.pt2), and packages of AOTInductor: a graph, or native code, and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from collapsecheck.checkpoints.exported_weights import exported_weights, model_names, pickled_state_dicts
from collapsecheck.checkpoints.formats import CheckpointFormat, Contents, SafetyNote
from collapsecheck.checkpoints.zip_archive import Archive, kind_of_zip, open_archive

_NATIVE = "data/aotinductor/"
_NATIVE_ENDS = (".so", ".o", ".cpp", ".cubin", ".pyd", ".dll", ".dylib")


class TorchExport(CheckpointFormat):
    """An archive of torch.export: the weights are read from their bytes; the graph is code, and is not run.

    PyTorch itself opens the pickled sample inputs of such an archive without any restriction, so loading it with
    `torch.export.load` runs whatever they name. Here no sample input is opened.
    """

    runs_code: ClassVar[bool] = True

    def recognises(self, head: bytes, path: Path) -> bool:
        """A zip file with a member that names the kind, or with the graph of the releases before."""
        return head.startswith(b"PK") and kind_of_zip(path) == "torch_export"

    def read(self, path: Path) -> Contents:
        """Return the weights by name; of an archive with several models, by the name of the model first.

        An archive that has no weights outside of its code gives an empty mapping, and a note that says so.
        """
        archive = open_archive(path)
        notes = _notes(archive)
        content: dict[str, Any] = {}
        left: tuple[str, ...] = ()
        for model in model_names(archive):
            content[model], unread = exported_weights(archive, model)
            left += unread
        older, noted = pickled_state_dicts(archive)
        content |= {model: tensors for model, tensors in older.items() if model not in content}
        notes += noted
        if left:
            message = (
                "some weights are pickled objects of other classes than tensors; they were not opened, and left out"
            )
            notes.append(SafetyNote(id="unread-weights", message=message, names=left))
        if not any(content.values()):
            message = "has no weights that can be read without running it"
            notes.append(SafetyNote(id="no-readable-weights", message=message))
            content = {}
        return Contents(
            content=next(iter(content.values())) if len(content) == 1 else content,
            metadata={"models": tuple(content)},
            notes=tuple(notes),
            files=(path,),
        )


def _notes(archive: Archive) -> list[SafetyNote]:
    notes = [
        SafetyNote(
            id="contains-code",
            message="holds the model as code, a graph of torch.export; only its numbers were read",
        )
    ]
    native = tuple(name for name in archive.members if name.startswith(_NATIVE) and name.endswith(_NATIVE_ENDS))
    if native:
        message = "holds compiled native code of AOTInductor, which cannot be inspected; it was not run"
        notes.append(SafetyNote(id="native-code", message=message, names=native))
    return notes
