"""What torch.save writes: a zip file of one pickle and one member for each storage."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

from collapsecheck.checkpoints.formats import CheckpointFormat, Contents
from collapsecheck.checkpoints.weights_only import RESAVE, load_weights_only
from collapsecheck.errors import NotLoadableError, printable


class TorchZip(CheckpointFormat):
    """A zip file; only what torch.save wrote is loaded, and only after its members were looked at."""

    def recognises(self, head: bytes, path: Path) -> bool:  # noqa: ARG002
        """Begins like a zip file.

        Python finds a zip file behind other bytes too, torch does not: two readers that disagree are how a
        check gets bypassed, so a zip file has to begin at the first byte.
        """
        return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))

    def read(self, path: Path) -> Contents:
        """Check the members, then map the file into memory with the weights-only unpickler."""
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise NotLoadableError("truncated or damaged zip file; copy or download it again") from error
        problem = _other_kind(members) or _unfit(members)
        if problem is not None:
            raise NotLoadableError(problem)
        return Contents(content=load_weights_only(path, mapped=True), files=(path,))


def _other_kind(members: list[zipfile.ZipInfo]) -> str | None:
    """Say what a zip file is that torch.save did not write; the order matters, as kinds share members."""
    names = {PurePosixPath(member.filename).name for member in members}
    if not names:
        return f"an empty zip file, expected what torch.save writes; {RESAVE}"
    if names & {"archive_format", "archive_version", "serialized_exported_program.json"}:
        return f"a torch.export archive (.pt2), which is not supported yet; {RESAVE}"
    if "constants.pkl" in names:
        return f"a TorchScript archive, which is not supported yet; {RESAVE}"
    if all(name.endswith(".npy") for name in names):
        return (
            "a NumPy archive (.npz), expected what torch.save writes; "
            "for ready vectors use: collapsecheck embeddings FILE"
        )
    if {"config.json", "metadata.json"} <= names:
        return "a Keras model, expected a PyTorch checkpoint; convert the weights first"
    if "data.pkl" not in names:
        return f"a zip file, but not of torch.save (no data.pkl in it); unpack it, or {RESAVE}"
    return None


def _unfit(members: list[zipfile.ZipInfo]) -> str | None:
    """Say why the members could not have been written by torch.save."""
    seen: set[str] = set()
    for member in members:
        name = printable(member.filename)
        if member.filename in seen:
            return f"the member {name} is in the zip file twice; {RESAVE}"
        if member.flag_bits & 1:
            return f"the member {name} is encrypted; {RESAVE}"
        if member.compress_type != zipfile.ZIP_STORED:  # torch.save never does; a bomb of 1 MB inflates to 1 GB
            return f"the member {name} is compressed, which torch.save never does; {RESAVE}"
        seen.add(member.filename)
    if sum(PurePosixPath(name).name == "data.pkl" for name in seen) > 1:
        return f"the zip file holds more than one data.pkl; {RESAVE}"
    return None
