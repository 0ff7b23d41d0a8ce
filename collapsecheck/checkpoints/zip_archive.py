"""Zip files read so that no other reader can see something else in them.

Python's reader finds an archive behind foreign bytes, takes the last of two members of one name and believes what
the directory says of a member; torch's does not. Two readers that disagree are how a check is bypassed, so whatever
they could disagree on is refused: the archive fills the file, each name is there once, and the directory agrees with
what stands in front of each member.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from collapsecheck.checkpoints.stored import Stamp, stamp
from collapsecheck.checkpoints.zip_directory import DAMAGED, DEFLATED, Member, read_directory
from collapsecheck.errors import NotLoadableError, printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An archive whose members are where they claim to be. Names are those below `root`.

    `root` is the one folder that holds all members, with its slash: "archive/"; "" if there is no such folder.
    """

    path: Path
    root: str
    members: Mapping[str, Member]

    def span(self, name: str) -> tuple[int, int]:
        """Return (offset, size) in bytes of a member whose bytes lie in the file as they are.

        Raises
        ------
        NotLoadableError
            If there is no such member, or it is compressed: that way 1 MB can declare a tensor of 1 GB.
        """
        member = self._member(name)
        if member.compressed:
            raise NotLoadableError(
                f"the member {self._shown(name)} is compressed, which torch.save never does; "
                "unpack the archive and pack it without compression"
            )
        return member.offset, member.size

    def content(self, name: str, *, limit: int = 64 << 20) -> bytes:
        """Return the bytes of a member, unpacked, of which there may be `limit` at most.

        Its checksum is not looked at: torch can be told to write none.

        Raises
        ------
        NotLoadableError
            If there is no such member, or it is larger, or damaged.
        """
        member = self._member(name)
        if max(member.size, member.packed) > limit:
            raise NotLoadableError(
                f"the member {self._shown(name)} has {member.size:,} bytes, expected at most {limit:,}; "
                "save the weights alone, without what does not belong to them"
            )
        with self.path.open("rb") as file:
            file.seek(member.offset)
            held = file.read(member.packed)
        if member.method == DEFLATED:
            held = _inflated(held, member.size)
        elif member.compressed:
            raise NotLoadableError(
                f"the member {self._shown(name)} is compressed in an unusual way; pack the archive again"
            )
        if len(held) != member.size:
            raise NotLoadableError(DAMAGED)
        return held

    def _member(self, name: str) -> Member:
        if name not in self.members:
            raise NotLoadableError(f"the member {self._shown(name)} is missing; copy or download the file again")
        return self.members[name]

    def _shown(self, name: str) -> str:
        return printable(self.root + name)


def open_archive(path: Path) -> Archive:
    """Read the directory of a zip file, and check all of it.

    Raises
    ------
    NotLoadableError
        If the file is damaged, or could be read in two ways.
    """
    return _opened(path, stamp(path))


def kind_of_zip(path: Path) -> str:
    """Tell who wrote a zip file, from the names of its members.

    One of "torch_export", "torchscript", "torch", "npz", "keras", "empty", "other", or "damaged" for what
    `open_archive` refuses. The order matters, as kinds share members: data.pkl is in a TorchScript archive too.
    """
    try:
        names = open_archive(path).members.keys()
    except NotLoadableError:
        return "damaged"
    last = {name.rpartition("/")[2] for name in names}
    if not names:
        return "empty"
    if last & {"archive_format", "archive_version", "serialized_exported_program.json"}:
        return "torch_export"
    if "constants.pkl" in last:
        return "torchscript"
    if "data.pkl" in last:
        return "torch"
    if all(name.endswith(".npy") for name in names):
        return "npz"
    return "keras" if {"config.json", "metadata.json"} <= last else "other"


@lru_cache(maxsize=16)  # every format asks, until one is found
def _opened(path: Path, _: Stamp) -> Archive:
    with path.open("rb") as file:
        members = read_directory(file, path.stat().st_size)
    roots = {name.partition("/")[0] for name in members}
    root = f"{roots.pop()}/" if len(roots) == 1 and all("/" in name for name in members) else ""
    return Archive(path=path, root=root, members={name[len(root) :]: member for name, member in members.items()})


def _inflated(held: bytes, size: int) -> bytes:
    try:  # one byte more than declared shows that there is more
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(held, size + 1)
    except zlib.error as error:
        raise NotLoadableError(DAMAGED) from error
