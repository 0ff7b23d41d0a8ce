"""What a path is that no format reads: one sentence each, with what to do."""

from __future__ import annotations

from pathlib import Path

from collapsecheck.checkpoints.weights_only import RESAVE
from collapsecheck.errors import printable

_EXPECTED = "expected what torch.save writes, or safetensors"
_WEIGHT_FILES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
_PICKLE = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")

# The first that fits says it; marks are at the start of the file.
_MARKS = {
    b"version https://git-lfs": (
        "a Git LFS pointer, not the file itself; run `git lfs pull` in its repository, then try again"
    ),
    b"\x89HDF\r\n\x1a\n": f"an HDF5 file, as Keras writes, {_EXPECTED}; convert it to PyTorch first",
    b"GGUF": f"a GGUF file, {_EXPECTED}; use the original weights that it was converted from",
    b"\x93NUMPY": (f"a NumPy array (.npy), {_EXPECTED}; for ready vectors use: collapsecheck embeddings FILE"),
    b"PAR1": f"a Parquet table, {_EXPECTED}; for ready vectors use: collapsecheck embeddings FILE",
    b"ARROW1": f"an Arrow table, {_EXPECTED}; for ready vectors use: collapsecheck embeddings FILE",
    b"\x1f\x8b": f"a gzip file, {_EXPECTED}; unpack it first, with gunzip or tar",
    b"\x28\xb5\x2f\xfd": f"a zstd file, {_EXPECTED}; unpack it first, with unzstd",
    b"\xfd7zXZ\x00": f"an xz file, {_EXPECTED}; unpack it first, with unxz",
    b"BZh": f"a bzip2 file, {_EXPECTED}; unpack it first, with bunzip2",
    b"7z\xbc\xaf\x27\x1c": f"a 7z archive, {_EXPECTED}; unpack it first",
}


def describe_file(head: bytes) -> str:
    """Say what a file is, from its leading bytes, and what to do."""
    if not head:
        return f"the file is empty, {_EXPECTED}; the copy or the save was cut short, make it again"
    for mark, sentence in _MARKS.items():
        if head.startswith(mark):
            return sentence
    if head[257:262] == b"ustar":
        return f"a tar archive (torch 0.1 wrote these too), {_EXPECTED}; unpack it, or {RESAVE}"
    if head.startswith(_PICKLE):
        return (
            f"a plain Python pickle that torch.save did not write, {_EXPECTED}; "
            f"it was not opened, as a pickle can run code; {RESAVE}"
        )
    text = _as_text(head)
    if text is None:
        return f"the format of the file is not known, {_EXPECTED}; {RESAVE}"
    if text.lstrip().lower().startswith(("<!doctype html", "<html")):
        return f"a web page, {_EXPECTED}; the download gave a page instead of the file, download it again"
    begin = printable(text.strip()[:40])
    return f'a text file (it begins "{begin}"), {_EXPECTED}; give the path of the checkpoint itself'


def describe_directory(path: Path) -> str:
    """Say what a directory holds, and which file in it to give."""
    names = sorted(entry.name for entry in path.iterdir())
    if ".metadata" in names or any(name.endswith(".distcp") for name in names):
        return (
            "a directory of torch.distributed.checkpoint, which is not supported yet; convert it with "
            "`python -m torch.distributed.checkpoint.format_utils dcp_to_torch DIR FILE`"
        )
    found = [name for name in names if name.endswith(_WEIGHT_FILES)]
    if found:
        shown = ", ".join(printable(name, 60) for name in found[:3])
        return f"a directory, expected a file; give one of the files in it, such as {shown}"
    return "a directory, expected a file; give the path of the checkpoint itself"


def _as_text(head: bytes) -> str | None:
    """Return the bytes as text, or None if they are not."""
    for spare in range(4):  # the last character may be cut
        try:
            text = head[: len(head) - spare].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return text if all(c.isprintable() or c.isspace() for c in text) else None
    return None
