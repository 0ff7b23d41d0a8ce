"""What a file is that no format reads: one sentence each, with what to do."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from collapsecheck.checkpoints.tar_archive import is_tar, tar_members
from collapsecheck.checkpoints.zip_archive import kind_of_zip, open_archive
from collapsecheck.errors import NotLoadableError, printable

RESAVE = "re-save the weights with torch.save(model.state_dict(), FILE)"
EXPECTED = "expected what torch.save writes, or safetensors"
_VECTORS = "as DATA it can be scanned with a model; for ready vectors use: collapsecheck embeddings FILE"
_TABLE = "it is DATA, MODEL is the checkpoint; ready vectors are read from .npy: collapsecheck embeddings FILE.npy"
_CONVERT = "convert it to PyTorch first"
_PICKLE = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_TABLE_END = bytes.fromhex("57fb808b247547db")  # a table of LevelDB, in which TensorFlow indexes its checkpoints

# The first that fits says it; marks are at the start of the file.
_MARKS = {
    b"version https://git-lfs": (
        "a Git LFS pointer, not the file itself; run `git lfs pull` in its repository, then try again"
    ),
    b"\x89HDF\r\n\x1a\n": f"an HDF5 file, as Keras writes, {EXPECTED}; {_CONVERT}",
    b"GGUF": f"a GGUF file, {EXPECTED}; use the original weights that it was converted from",
    b"\x93NUMPY": f"a NumPy array (.npy), {EXPECTED}; {_VECTORS}",
    b"PAR1": f"a Parquet table, {EXPECTED}; {_TABLE}",
    b"ARROW1": f"an Arrow table, {EXPECTED}; {_TABLE}",
    b"\x1f\x8b": f"a gzip file, {EXPECTED}; unpack it first, with gunzip or tar",
    b"\x28\xb5\x2f\xfd": f"a zstd file, {EXPECTED}; unpack it first, with unzstd",
    b"\xfd7zXZ\x00": f"an xz file, {EXPECTED}; unpack it first, with unxz",
    b"BZh": f"a bzip2 file, {EXPECTED}; unpack it first, with bunzip2",
    b"7z\xbc\xaf\x27\x1c": f"a 7z archive, {EXPECTED}; unpack it first",
    b"\x7fELF": f"compiled native code, {EXPECTED}; give the checkpoint that it was compiled from",
    b"\x89PNG": f"an image, {EXPECTED}; images are DATA, MODEL is the checkpoint",
    b"\xff\xd8\xff": f"an image, {EXPECTED}; images are DATA, MODEL is the checkpoint",
    b"ftrt": f"a TensorRT engine, {EXPECTED}; give the checkpoint that it was built from",
}
# The same for marks at the fifth byte, where FlatBuffers have theirs.
_FLATBUFFERS = {
    b"TFL3": f"a TensorFlow Lite model, {EXPECTED}; {_CONVERT}",
    b"PTMF": f"a TorchScript model for mobile devices, {EXPECTED}; give the checkpoint that it was made from",
    b"ET12": f"an ExecuTorch program, {EXPECTED}; give the checkpoint that it was made from",
}


def describe_file(head: bytes, path: Path) -> str:
    """Say what a file is, from its leading bytes and from what it holds, and what to do."""
    if not head:
        return f"the file is empty, {EXPECTED}; the copy or the save was cut short, make it again"
    for mark, sentence in _MARKS.items():
        if head.startswith(mark):
            return sentence
    if head[4:8] in _FLATBUFFERS:
        return _FLATBUFFERS[head[4:8]]
    if head.startswith(_ZIP):
        return _zip(path)
    if is_tar(head):
        return _tar(path)
    if head.startswith(_PICKLE):
        return (
            f"a plain Python pickle that torch.save did not write, {EXPECTED}; "
            f"it was not opened, as a pickle can run code; {RESAVE}"
        )
    return _by_content(head, path)


def _by_content(head: bytes, path: Path) -> str:
    """Describe files without a mark at their start."""
    text = _as_text(head)
    if head[8:9] == b"{" and text is None:
        length = int.from_bytes(head[:8], "little")
        return (
            f"begins like safetensors, but declares a header of {length:,} bytes, which the format does not allow; "
            "the file is damaged, copy or download it again"
        )
    if head[:1] == b"\x08" and head[2:3] == b"\x12":
        return (
            f"a Protocol Buffers file that is no ONNX model, such as TensorFlow's saved_model.pb or Core ML's "
            f".mlmodel, {EXPECTED}; {_CONVERT}"
        )
    if _ends_with(path, _TABLE_END):
        return f"the index of a TensorFlow checkpoint, {EXPECTED}; {_CONVERT}"
    if text is None:
        return f"the format of the file is not known, {EXPECTED}; {RESAVE}"
    if text.lstrip().lower().startswith(("<!doctype html", "<html")):
        return f"a web page, {EXPECTED}; the download gave a page instead of the file, download it again"
    begin = printable(text.strip()[:40])
    return f'a text file (it begins "{begin}"), {EXPECTED}; give the path of the checkpoint itself'


def _zip(path: Path) -> str:
    kind = kind_of_zip(path)
    if kind == "damaged":
        try:
            open_archive(path)
        except NotLoadableError as error:
            return str(error)
    if kind == "empty":
        return f"an empty zip file, {EXPECTED}; {RESAVE}"
    if kind == "npz":
        return f"a NumPy archive (.npz), {EXPECTED}; {_VECTORS}"
    if kind == "keras":
        return f"a Keras model, {EXPECTED}; {_CONVERT}"
    names = open_archive(path).members
    if any(name.endswith(".data/extern_modules") for name in names) or ".data/python_version" in names:
        return f"a torch.package archive, which is code, {EXPECTED}; load it in its own program and {RESAVE}"
    inner = [name for name in names if PurePosixPath(name).suffix in {".pt", ".pth", ".bin", ".safetensors", ".ckpt"}]
    if inner:
        shown = ", ".join(printable(name, 60) for name in inner[:3])
        return f"a plain zip file around {shown}, {EXPECTED}; unpack it first"
    return f"a zip file, but not of torch.save (no data.pkl in it), {EXPECTED}; unpack it, or {RESAVE}"


def _tar(path: Path) -> str:
    try:
        members = tar_members(path, most=1000)
    except NotLoadableError as error:
        return str(error)
    names = [PurePosixPath(name) for name in members]
    if any(name.suffix in {".pt", ".pth", ".bin", ".safetensors", ".ckpt"} for name in names) and len(names) < 50:
        return f"a tar archive, {EXPECTED}; unpack it first, and give the checkpoint that is in it"
    keys = {str(name).partition(".")[0] for name in names}
    if names and 2 * len(keys) <= len(names):  # a sample is a group of files KEY.EXTENSION
        return f"a tar archive of samples, as WebDataset writes, {EXPECTED}; it is DATA, MODEL is the checkpoint"
    return f"a tar archive, {EXPECTED}; unpack it, or {RESAVE}"


def _ends_with(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(mark)))
        return file.read(len(mark)) == mark


def _as_text(head: bytes) -> str | None:
    """Return the bytes as text, or None if they are not."""
    for spare in range(4):  # the last character may be cut
        try:
            text = head[: len(head) - spare].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return text if all(c.isprintable() or c.isspace() for c in text) else None
    return None
